"""chatstore: the storage layer of chat and agent servers, opened with one URL."""

from chatstore.assembly import ChatStore
from chatstore.errors import (
    ChatStoreError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    NotSupportedError,
    SchemaError,
    StorageError,
    StorageFullError,
    UnavailableError,
)
from chatstore.models import Attachment, Item, Page, Thread, ThreadStatus
from chatstore.opening import open_store
from chatstore.owners import Owner
from chatstore.protocols import Capability, Store
from chatstore.users import UserStore

__all__ = [
    "Attachment",
    "Capability",
    "ChatStore",
    "ChatStoreError",
    "ClosedError",
    "ConfigurationError",
    "ConflictError",
    "IntegrityError",
    "InvalidInputError",
    "Item",
    "NotFoundError",
    "NotSupportedError",
    "Owner",
    "Page",
    "SchemaError",
    "StorageError",
    "StorageFullError",
    "Store",
    "Thread",
    "ThreadStatus",
    "UnavailableError",
    "UserStore",
    "open_store",
]
