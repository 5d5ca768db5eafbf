"""The parts of BlobTests, one file per promise."""
