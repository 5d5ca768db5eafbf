"""chatstore: the storage layer of chat and agent servers, opened with one URL."""

from chatstore.assembly import ChatStore
from chatstore.deadlines import Deadlines
from chatstore.errors import (
    ChatStoreError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    LimitError,
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
from chatstore.protocols import BlobStore, Capability, Limits, Store
from chatstore.readiness import Readiness
from chatstore.users import UserStore

__all__ = [
    "Attachment",
    "BlobStore",
    "Capability",
    "ChatStore",
    "ChatStoreError",
    "ClosedError",
    "ConfigurationError",
    "ConflictError",
    "Deadlines",
    "IntegrityError",
    "InvalidInputError",
    "Item",
    "LimitError",
    "Limits",
    "NotFoundError",
    "NotSupportedError",
    "Owner",
    "Page",
    "Readiness",
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
