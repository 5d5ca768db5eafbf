"""The test kit: what a store must do, as tests that anyone can run against theirs."""
