"""A store, and a blob store, whose calls are told to who listens; where nobody does, they are only passed on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial, wraps
from typing import Any, Final, Generic, Self, TypeVar, cast

from chatstore.models import Item, Order
from chatstore.observing.calls import Call, Kind, listens, new_call
from chatstore.observing.steps import awaited, entered, iterated, opened
from chatstore.owners import Owner
from chatstore.protocols import BlobInfo, BlobStore, Capability, DiscardsUnfinished, Store

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
W = TypeVar("W", Store, BlobStore)


class _Observed(Generic[W]):
    """Something with an attribute ``system``, a name for what it is, or the name of its class in place of that."""

    _kind: Kind
    _prefix: str = ""

    def __init__(self, wrapped: W, parent: Call | None = None) -> None:
        self.wrapped: W = wrapped
        self._system = str(getattr(wrapped, "system", type(wrapped).__name__))
        self._parent = parent

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What is wrapped can do this beyond the minimum."""
        return self.wrapped.capabilities

    async def aclose(self) -> None:
        await self.wrapped.aclose()

    async def __aenter__(self) -> Self:
        await self.wrapped.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.wrapped.__aexit__(*exc_info)

    def __getattr__(self, name: str) -> Any:
        """Forward what only some backends have."""
        if name == "wrapped":  # of a copy that is still being made
            raise AttributeError(name)
        return getattr(self.wrapped, name)

    def _call(self, operation: str, owner: object = None) -> Call:
        return new_call(f"{self._prefix}{operation}", self._kind, self._system, owner, self._parent)


def _told(method: F) -> F:
    """Return the method of a protocol that forwards to what is wrapped; one of coroutine functions, with ``owner``."""
    name = method.__name__

    @wraps(method)
    def forward(self: _Observed[Any], *args: Any, **options: Any) -> Any:
        method = getattr(self.wrapped, name)
        if not listens():
            return method(*args, **options)
        return awaited(self._call(name, options.get("owner")), partial(method, *args, **options))

    return cast("F", forward)


class ObservedStore(_Observed[Store]):
    """A store around another one, ``wrapped``."""

    _kind = "database"

    create_thread: Final = _told(Store.create_thread)
    load_thread: Final = _told(Store.load_thread)
    save_thread: Final = _told(Store.save_thread)
    update_thread: Final = _told(Store.update_thread)
    delete_thread: Final = _told(Store.delete_thread)
    load_threads: Final = _told(Store.load_threads)
    add_thread_item: Final = _told(Store.add_thread_item)
    add_thread_items: Final = _told(Store.add_thread_items)
    load_item: Final = _told(Store.load_item)
    save_item: Final = _told(Store.save_item)
    load_thread_items: Final = _told(Store.load_thread_items)
    delete_thread_item: Final = _told(Store.delete_thread_item)
    delete_thread_items: Final = _told(Store.delete_thread_items)
    save_attachment: Final = _told(Store.save_attachment)
    load_attachment: Final = _told(Store.load_attachment)
    load_attachments: Final = _told(Store.load_attachments)
    load_thread_attachments: Final = _told(Store.load_thread_attachments)
    delete_attachment: Final = _told(Store.delete_attachment)
    begin_upload: Final = _told(Store.begin_upload)
    load_file: Final = _told(Store.load_file)
    load_files: Final = _told(Store.load_files)
    finish_upload: Final = _told(Store.finish_upload)
    copy_attachment: Final = _told(Store.copy_attachment)
    queue_deletion: Final = _told(Store.queue_deletion)
    take_deletions: Final = _told(Store.take_deletions)
    acknowledge_deletion: Final = _told(Store.acknowledge_deletion)
    expire_uploads: Final = _told(Store.expire_uploads)
    known_keys: Final = _told(Store.known_keys)
    list_files: Final = _told(Store.list_files)
    check: Final = _told(Store.check)

    def iter_thread_items(
        self, thread_id: str, *, owner: Owner, order: Order = "asc", page_size: int = 100
    ) -> AsyncIterator[Item]:
        items = self.wrapped.iter_thread_items(thread_id, owner=owner, order=order, page_size=page_size)
        return iterated(self._call("iter_thread_items", owner), items) if listens() else items

    def transaction(self) -> AbstractAsyncContextManager[Store]:
        block = self.wrapped.transaction()
        if not listens():
            return block
        call = self._call("transaction")
        return entered(call, block, lambda inner: ObservedStore(inner, call))

    async def run(self, work: Callable[[Store], Awaitable[T]]) -> T:
        if not listens():
            return await self.wrapped.run(work)
        call = self._call("run")
        return await awaited(call, lambda: self.wrapped.run(lambda inner: work(ObservedStore(inner, call))))


class ObservedBlobs(_Observed[BlobStore]):
    """A blob store around another one, ``wrapped``."""

    _kind = "blobs"
    _prefix = "blobs."

    put: Final = _told(BlobStore.put)
    read: Final = _told(BlobStore.read)
    stat: Final = _told(BlobStore.stat)
    delete: Final = _told(BlobStore.delete)
    presign_get: Final = _told(BlobStore.presign_get)
    presign_put: Final = _told(BlobStore.presign_put)
    discard_unfinished: Final = _told(DiscardsUnfinished.discard_unfinished)

    def open(
        self, key: str, *, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        block = self.wrapped.open(key, start=start, end=end)
        return opened(self._call("open"), block) if listens() else block

    def list(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        found = self.wrapped.list(prefix)
        return iterated(self._call("list"), found) if listens() else found
