"""The tests of a store, one file for each promise; ``chatstore.testing.store_suite`` puts them together."""
