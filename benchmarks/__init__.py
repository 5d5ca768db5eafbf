"""Measuring programs; none is a test, and nothing in the library knows of them."""
