"""What stores and blob stores over a relational database share."""
