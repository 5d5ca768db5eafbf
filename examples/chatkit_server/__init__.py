"""A ChatKit server whose conversations are kept by chatstore: ``python -m examples.chatkit_server``."""
