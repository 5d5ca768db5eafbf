"""One file for each way to keep conversations that is measured; each imports its own libraries alone."""
