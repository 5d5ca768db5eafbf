"""Where threads and items live."""
