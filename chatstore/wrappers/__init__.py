"""What goes around a store or a blob store, and is one itself."""
