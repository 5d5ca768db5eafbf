"""ChatKitStore: the SDK's ``Store`` on a chatstore."""

# Annotations are values here, as in the SDK's class: the signatures are the same objects, not look-alikes.
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import chatkit.store
from chatkit.store import Store, StoreItemType, TContext
from chatkit.types import Attachment, Page, ThreadItem, ThreadMetadata

from chatstore import inputs, instants, models, protocols
from chatstore.assembly import ChatStore
from chatstore.errors import ConflictError, InvalidInputError, NotFoundError
from chatstore.integrations.chatkit import ids, items, threads
from chatstore.integrations.chatkit.callers import Callers, sdk_errors
from chatstore.integrations.chatkit.files import Files
from chatstore.integrations.chatkit.recent import Recent
from chatstore.links import check_lifetime
from chatstore.owners import Owner, OwnerOf, user_id_of

Record = TypeVar("Record", models.Item, models.Thread)

_logger = logging.getLogger(__name__)

_known_threads: Recent[threads.KnownThread] = Recent("chatstore_chatkit_threads")
_renamed_items: Recent[dict[str, list[str]]] = Recent("chatstore_chatkit_items")

DEFAULT_LIMIT = 20
"""The page size of ChatKit's own server."""


class ChatKitStore(Store[TContext]):
    """ChatKit's store on a :class:`~chatstore.ChatStore`, for contexts of any type.

    ``owner_of`` finds the user of a request in the server's context: by default its ``user_id`` (an attribute or
    a mapping key); otherwise a function, also an asynchronous one, that returns the user's id or an ``Owner``.
    A context without a user raises ``InvalidInputError`` in every call.

    What the SDK leaves open, decided here:

    *Errors.* What is absent, or somebody else's, raises ``chatkit.store.NotFoundError``; other errors are
    chatstore's own. An unknown thread's page of items is empty; deletes are quiet.

    *Order.* Every item is placed by its ``created_at``. A limit below 1 is 1 and above 1,000 is 1,000; an order
    other than ``asc`` and ``desc`` raises ``InvalidInputError``. ``after`` is a record's id or a cursor of the
    same listing in chatstore; an unknown one raises ``NotFoundError``.

    *Exactly as given.* A value that JSON cannot carry (NaN, a set, a date, an int key where the SDK allows
    anything) raises ``InvalidInputError`` before anything is written.

    *Repeated ids.* An item with the id and ``created_at`` of a stored one is that item, updated in its place. With
    another ``created_at`` it is another item and gets an id of its own, derived from both, so that a retry meets
    it again. ``__fake_id__``, which some models give to every answer, is always replaced in this way: such an
    answer can be loaded and deleted by that id only within the request that stored it.

    *Saving threads.* What the request has loaded is remembered, and only what it changed since is written: a
    rename by somebody else survives, and a thread that was deleted meanwhile raises ``NotFoundError`` instead of
    coming back. Where both changed the same field, the last one wins.

    *Saving items.* ``save_item`` replaces an item in its place, and adds one that is not there.

    *Attachments.* Of a file that is kept here (``ChatKitAttachmentStore``, ``attachments_router``,
    ``add_attachment``) the SDK's object is made from the record on every load, alone or in a message: with an upload
    descriptor until its bytes are there, and as an image whose preview expires after ``previews_expire_in`` where
    they are those of one. No such URL is stored, so no stale copy brings one back. A message in a second thread
    names a record of its own, of the same bytes. Attachments with their bytes elsewhere come back as they were
    saved: only what changed since the load is written, and a descriptor that is gone does not come back.

    *Items of others.* An item that the installed SDK cannot read (a newer type, another writer) is left out of
    pages, with a warning in the log, and stays in the store untouched; ``load_item`` raises ``IntegrityError``.

    *Cancellation.* A write goes on to its end in an anyio scope that is cancelled: a client that disconnects
    loses neither the partial answer nor the note about it.
    """

    def __init__(
        self,
        store: ChatStore | protocols.Store,
        *,
        owner_of: OwnerOf = user_id_of,
        previews_expire_in: timedelta = timedelta(hours=1),
    ) -> None:
        chat = store if isinstance(store, ChatStore) else ChatStore(store)
        self._store = chat.store
        self._files = Files(chat, check_lifetime(previews_expire_in))
        self._callers = Callers(owner_of)
        self._token = object()

    def generate_thread_id(self, context: TContext) -> str:
        """Return a fresh thread id: ``thr_`` and a UUIDv7 in hex."""
        return ids.fresh_id("thread")

    def generate_item_id(self, item_type: StoreItemType, thread: ThreadMetadata, context: TContext) -> str:
        """Return a fresh id, the SDK's prefix for ``item_type`` and a UUIDv7 in hex."""
        return ids.fresh_id(item_type)

    async def load_thread(self, thread_id: str, context: TContext) -> ThreadMetadata:
        """Return a thread's metadata, the caller's own to change; raise ``NotFoundError`` when absent."""
        owner = await self._callers.owner(context)
        with sdk_errors():
            stored = await self._store.load_thread(thread_id, owner=owner)
        thread = threads.metadata_of(stored)
        _known_threads.put(self._key(owner, thread_id), threads.KnownThread.of(stored, threads.values_of(thread)))
        _renamed_items.forget(self._key(owner, thread_id))
        return thread

    async def save_thread(self, thread: ThreadMetadata, context: TContext) -> None:
        """Write what changed since this request loaded or saved the thread; without that, insert or replace it.

        Raises ``NotFoundError`` where the thread was deleted since.
        """
        async with self._callers.writing(context) as owner:
            wanted = threads.values_of(thread)
            known = _known_threads.get(self._key(owner, thread.id))
            if known is None:
                stored = await self._store.save_thread(threads.new_thread(thread, wanted), owner=owner)
            else:
                stored = await self._merge_thread(thread.id, known, wanted, owner)
            _known_threads.put(self._key(owner, thread.id), threads.KnownThread.of(stored, wanted))

    async def load_thread_items(
        self,
        thread_id: str,
        after: str | None,
        limit: int,
        order: str,
        context: TContext,
    ) -> Page[ThreadItem]:
        """Return a page of a thread's items, an empty one for an unknown thread.

        Raises ``NotFoundError`` for an unknown ``after`` and ``InvalidInputError`` for an unknown order.
        """
        owner = await self._callers.owner(context)
        try:
            page = await self._item_page(thread_id, after, limit, inputs.check_order(order), owner)
        except NotFoundError:
            return Page()
        readable = _readable(page.data)
        await self._files.refresh(readable, owner)
        return _page_of(readable, page)

    async def load_threads(
        self,
        limit: int,
        after: str | None,
        order: str,
        context: TContext,
    ) -> Page[ThreadMetadata]:
        """Return a page of the user's threads by creation; raise as :meth:`load_thread_items` does."""
        owner = await self._callers.owner(context)
        direction = inputs.check_order(order)
        start = await _start(after, lambda id: self._store.load_thread(id, owner=owner))
        try:
            page = await self._store.load_threads(
                owner=owner, limit=_clamped(limit), after=start, order=direction, by="created"
            )
        except InvalidInputError as error:
            if not isinstance(start, str):
                raise
            raise chatkit.store.NotFoundError("load_threads: there is no thread to go on after") from error
        return _page_of([threads.metadata_of(thread) for thread in page.data], page)

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: TContext) -> None:
        """Place a new item by its ``created_at``; a stored one with the same id and time is updated in its place.

        Raises ``NotFoundError`` without the thread.
        """
        async with self._callers.writing(context) as owner:
            await self._add_item(thread_id, await self._files.for_storing(thread_id, item, owner), owner)

    async def save_item(self, thread_id: str, item: ThreadItem, context: TContext) -> None:
        """Replace an item in its place, or add it; raise ``NotFoundError`` without the thread."""
        async with self._callers.writing(context) as owner:
            item = await self._files.for_storing(thread_id, item, owner)
            stored = await self._stored_item(thread_id, item, owner)
            if stored is None:
                await self._add_item(thread_id, item, owner)
                return
            record = items.record_of(thread_id, item, id=stored.id, position=stored.position)
            await self._store.save_item(thread_id, record, owner=owner)

    async def load_item(self, thread_id: str, item_id: str, context: TContext) -> ThreadItem:
        """Return an item; raise ``NotFoundError`` when absent, ``IntegrityError`` when the SDK cannot read it."""
        owner = await self._callers.owner(context)
        with sdk_errors():
            newest = self._stored_ids(owner, thread_id, item_id)[-1]
            item = items.item_of(await self._store.load_item(thread_id, newest, owner=owner))
        await self._files.refresh([item], owner)
        return item

    async def delete_thread(self, thread_id: str, context: TContext) -> None:
        """Delete a thread with its items and attachment records; quiet when absent."""
        async with self._callers.writing(context) as owner:
            await self._store.delete_thread(thread_id, owner=owner)
            _known_threads.forget(self._key(owner, thread_id))
            _renamed_items.forget(self._key(owner, thread_id))

    async def delete_thread_item(self, thread_id: str, item_id: str, context: TContext) -> None:
        """Delete an item; quiet when absent."""
        async with self._callers.writing(context) as owner:
            ids = self._stored_ids(owner, thread_id, item_id)
            if len(ids) == 1:
                await self._store.delete_thread_item(thread_id, ids[0], owner=owner)
            else:
                await self._store.delete_thread_items(thread_id, ids, owner=owner)

    async def save_attachment(self, attachment: Attachment, context: TContext) -> None:
        """Write what changed since the attachment was loaded or saved; insert one never stored.

        Raises ``NotFoundError`` where its thread is absent, or where it was loaded and is gone since.
        """
        async with self._callers.writing(context) as owner:
            await self._files.save(attachment, owner)

    async def load_attachment(self, attachment_id: str, context: TContext) -> Attachment:
        """Return an attachment, with URLs made now; raise ``NotFoundError`` when absent.

        One whose bytes a client uploaded by a presigned request is verified first, and then ready; bytes that are
        not as announced raise ``InvalidInputError``.
        """
        owner = await self._callers.owner(context)
        with sdk_errors():
            return await self._files.load(attachment_id, owner)

    async def delete_attachment(self, attachment_id: str, context: TContext) -> None:
        """Delete an attachment; its bytes go with the next sweep. Quiet when absent."""
        async with self._callers.writing(context) as owner:
            await self._files.delete(attachment_id, owner)

    def _key(self, owner: Owner, id: str) -> tuple[object, Owner, str]:
        return self._token, owner, id

    async def _merge_thread(
        self, thread_id: str, known: threads.KnownThread, wanted: threads.Values, owner: Owner
    ) -> models.Thread:
        changes = threads.changes(known, wanted)
        try:
            return await self._store.update_thread(thread_id, owner=owner, revision=known.revision, **changes)
        except ConflictError:
            stored = await self._store.load_thread(thread_id, owner=owner)
        now_known = threads.KnownThread.of(stored, known.values)
        return await self._store.update_thread(thread_id, owner=owner, **threads.changes(now_known, wanted))

    async def _add_item(self, thread_id: str, item: ThreadItem, owner: Owner) -> None:
        if item.id not in items.PLACEHOLDER_IDS:
            try:
                await self._place(thread_id, item, item.id, owner)
                return
            except ConflictError:
                pass
        id = items.derived_id(item)
        await self._place(thread_id, item, id, owner)
        if item.id in items.PLACEHOLDER_IDS:
            self._remember_item(owner, thread_id, item.id, id)

    async def _place(self, thread_id: str, item: ThreadItem, id: str, owner: Owner) -> None:
        record = items.record_of(thread_id, item, id=id)
        await self._store.add_thread_item(thread_id, record, owner=owner, at=item.created_at)

    async def _stored_item(self, thread_id: str, item: ThreadItem, owner: Owner) -> models.Item | None:
        """Return what is stored of an item: under its own id, or under the derived one that it was given."""
        if item.id in items.PLACEHOLDER_IDS:
            return await self._found_item(thread_id, items.derived_id(item), owner)
        stored = await self._found_item(thread_id, item.id, owner)
        if stored is None or instants.to_text(stored.created_at) == instants.to_text(item.created_at):
            return stored
        return await self._found_item(thread_id, items.derived_id(item), owner) or stored

    async def _found_item(self, thread_id: str, item_id: str, owner: Owner) -> models.Item | None:
        try:
            return await self._store.load_item(thread_id, item_id, owner=owner)
        except NotFoundError:
            return None

    def _remember_item(self, owner: Owner, thread_id: str, placeholder: str, id: str) -> None:
        key = self._key(owner, thread_id)
        renamed = _renamed_items.get(key) or {}
        others = [other for other in renamed.get(placeholder, []) if other != id]
        _renamed_items.put(key, {**renamed, placeholder: [*others, id]})

    def _stored_ids(self, owner: Owner, thread_id: str, item_id: str) -> list[str]:
        """Return the ids that this request stored an item under: one, except for a placeholder."""
        renamed = _renamed_items.get(self._key(owner, thread_id)) or {}
        return renamed.get(item_id, [item_id])

    async def _item_page(
        self, thread_id: str, after: str | None, limit: int, order: models.Order, owner: Owner
    ) -> models.Page[models.Item]:
        start = await _start(after, lambda id: self._store.load_item(thread_id, id, owner=owner))
        try:
            return await self._store.load_thread_items(
                thread_id, owner=owner, limit=_clamped(limit), after=start, order=order
            )
        except InvalidInputError as error:
            if not isinstance(start, str):
                raise
            await self._store.load_thread(thread_id, owner=owner)
            raise chatkit.store.NotFoundError("load_thread_items: there is no item to go on after") from error


def _clamped(limit: object) -> int:
    """Return a limit that the core takes; what is no number is the SDK's own default."""
    if not isinstance(limit, int | float) or limit != limit:
        return DEFAULT_LIMIT
    return int(min(max(limit, 1), inputs.MAX_LIMIT))


async def _start(after: str | None, load: Callable[[str], Awaitable[Record]]) -> Record | str | None:
    """Return the record that a page goes on after; what is not a record's id may be a cursor."""
    if not after:
        return None
    try:
        return await load(after)
    except (NotFoundError, InvalidInputError):
        return after


def _readable(records: list[models.Item]) -> list[ThreadItem]:
    readable = []
    for record in records:
        try:
            readable.append(items.item_of(record))
        except items.UnreadableItem as error:
            _logger.warning("left out of ChatKit's page: %s", error)
    return readable


def _page_of(data: list[Any], page: models.Page[Any]) -> Page[Any]:
    """Return ChatKit's page, whose ``after`` is the id of the last stored record, readable or not."""
    return Page(data=data, has_more=page.has_more, after=page.data[-1].id if page.has_more else None)
