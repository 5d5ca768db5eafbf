"""Threads, items and attachment records in a relational database: PostgreSQL and SQLite."""

from chatstore.stores.sql.store import SQLStore, open_sql

__all__ = ["SQLStore", "open_sql"]
