"""What the calls of a store did, told to who listens: log records, spans and metrics."""
