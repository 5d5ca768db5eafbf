"""Every error chatstore raises, as one tree.

::

    ChatStoreError
    ├── ConfigurationError        a URL, option or missing extra; says what to install or write
    ├── InvalidInputError         (ValueError) the caller's value, a foreign or broken cursor
    │   └── LimitError            a file that is too large, of a type not allowed, or over its owner's quota
    ├── NotFoundError             (LookupError) absent, or another owner's: the two cannot be told apart
    ├── ConflictError             an id in use, a revision that moved on
    ├── NotSupportedError         a capability this backend does not declare
    ├── ClosedError               the store was closed
    ├── SchemaError               missing, outdated or too new; names the command
    └── StorageError
        ├── UnavailableError      retryable: connection lost, timeout, busy, pool exhausted, deadlock
        ├── StorageFullError      no space left where the data lives
        └── IntegrityError        stored rows or bytes that contradict themselves

A message names the operation, the id and what to do; never message text, never a password. The driver's
error, where there is one, is the ``__cause__``.
"""

from __future__ import annotations


class ChatStoreError(Exception):
    """Base of every error chatstore raises.

    ``retryable`` says whether the same call may succeed later without a change by the caller.
    """

    retryable: bool = False


class ConfigurationError(ChatStoreError):
    """A URL, an option, a missing extra or a use that cannot work; the message says what to write instead."""


class InvalidInputError(ChatStoreError, ValueError):
    """A value of the caller's that no backend accepts; nothing was written."""


class LimitError(InvalidInputError):
    """A file that a limit forbids; nothing was stored.

    ``limit`` names which: ``file_bytes``, ``owner_bytes``, ``owner_files`` or ``types``; or ``max_bytes``, for one
    that is stored and too large to be handed out whole.
    """

    def __init__(self, message: str, limit: str) -> None:
        super().__init__(message, limit)
        self.limit = limit

    def __str__(self) -> str:
        return str(self.args[0])


class NotFoundError(ChatStoreError, LookupError):
    """There is no such thing for this owner; somebody else's is answered in the same way."""


class ConflictError(ChatStoreError):
    """An id that is in use for something else, or a field that somebody else changed first."""


class NotSupportedError(ChatStoreError):
    """The backend does not declare the capability that the call needs."""


class ClosedError(ChatStoreError):
    """The store was closed before the call."""


class SchemaError(ChatStoreError):
    """The tables are missing, outdated or newer than this code; the message names the command to run."""


class StorageError(ChatStoreError):
    """The place where the data lives failed; nothing is known to be wrong with the call itself."""


class UnavailableError(StorageError):
    """The database did not answer in time or refused for now; the same call may succeed later.

    ``may_have_committed`` is true where a commit was sent and its answer was lost. Adding an item again with
    the same id is safe in either case.
    """

    retryable = True

    def __init__(self, message: str, *, may_have_committed: bool = False) -> None:
        super().__init__(message)
        self.may_have_committed = may_have_committed


class StorageFullError(StorageError):
    """There is no space left; what was acknowledged before is intact."""


class IntegrityError(StorageError):
    """What is stored contradicts itself: a row no version of chatstore writes, bytes that are missing."""
