"""The reference store: plain dictionaries in this process."""

from chatstore.stores.memory.store import MemoryStore, open_memory

__all__ = ["MemoryStore", "open_memory"]
