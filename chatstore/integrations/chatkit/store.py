"""ChatKitStore: the SDK's ``Store`` on a chatstore."""

# Annotations are values here, as in the SDK's class: the signatures are the same objects, not look-alikes.
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import anyio
import chatkit.store
from chatkit.store import Store, StoreItemType, TContext, default_generate_id
from chatkit.types import Attachment, Page, ThreadItem, ThreadMetadata

from chatstore import inputs, instants, models, protocols
from chatstore.assembly import ChatStore
from chatstore.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from chatstore.ids import new_id
from chatstore.integrations.chatkit import attachments, items, threads
from chatstore.integrations.chatkit.recent import Recent
from chatstore.owners import Owner, OwnerOf, resolve_owner, user_id_of

Record = TypeVar("Record", models.Item, models.Thread)

OWNER_SECONDS = 30.0
"""How long an asynchronous ``owner_of`` may take; a write waits for it even when its client is gone."""

_logger = logging.getLogger(__name__)

_known_threads: Recent[threads.KnownThread] = Recent("chatstore_chatkit_threads")
_known_attachments: Recent[attachments.Values] = Recent("chatstore_chatkit_attachments")
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

    *Attachments.* Only what changed since the load is written, and an upload descriptor that is gone does not
    come back. An attachment stays in the thread that named it first.

    *Items of others.* An item that the installed SDK cannot read (a newer type, another writer) is left out of
    pages, with a warning in the log, and stays in the store untouched; ``load_item`` raises ``IntegrityError``.

    *Cancellation.* A write goes on to its end in an anyio scope that is cancelled: a client that disconnects
    loses neither the partial answer nor the note about it.
    """

    def __init__(self, store: ChatStore | protocols.Store, *, owner_of: OwnerOf = user_id_of) -> None:
        self._store = store.store if isinstance(store, ChatStore) else store
        self._owner_of = owner_of
        self._token = object()

    def generate_thread_id(self, context: TContext) -> str:
        """Return a fresh thread id: ``thr_`` and a UUIDv7 in hex."""
        return new_id(_prefix("thread"))

    def generate_item_id(self, item_type: StoreItemType, thread: ThreadMetadata, context: TContext) -> str:
        """Return a fresh id, the SDK's prefix for ``item_type`` and a UUIDv7 in hex."""
        return new_id(_prefix(item_type))

    async def load_thread(self, thread_id: str, context: TContext) -> ThreadMetadata:
        """Return a thread's metadata, the caller's own to change; raise ``NotFoundError`` when absent."""
        owner = await self._owner(context)
        with _sdk_errors():
            stored = await self._store.load_thread(thread_id, owner=owner)
        thread = threads.metadata_of(stored)
        _known_threads.put(self._key(owner, thread_id), threads.KnownThread.of(stored, threads.values_of(thread)))
        _renamed_items.forget(self._key(owner, thread_id))
        return thread

    async def save_thread(self, thread: ThreadMetadata, context: TContext) -> None:
        """Write what changed since this request loaded or saved the thread; without that, insert or replace it.

        Raises ``NotFoundError`` where the thread was deleted since.
        """
        async with self._writing(context) as owner:
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
        owner = await self._owner(context)
        try:
            page = await self._item_page(thread_id, after, limit, inputs.check_order(order), owner)
        except NotFoundError:
            return Page()
        return _page_of(_readable(page.data), page)

    async def load_threads(
        self,
        limit: int,
        after: str | None,
        order: str,
        context: TContext,
    ) -> Page[ThreadMetadata]:
        """Return a page of the user's threads by creation; raise as :meth:`load_thread_items` does."""
        owner = await self._owner(context)
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
        async with self._writing(context) as owner:
            await self._add_item(thread_id, item, owner)

    async def save_item(self, thread_id: str, item: ThreadItem, context: TContext) -> None:
        """Replace an item in its place, or add it; raise ``NotFoundError`` without the thread."""
        async with self._writing(context) as owner:
            stored = await self._stored_item(thread_id, item, owner)
            if stored is None:
                await self._add_item(thread_id, item, owner)
                return
            record = items.record_of(thread_id, item, id=stored.id, position=stored.position)
            await self._store.save_item(thread_id, record, owner=owner)

    async def load_item(self, thread_id: str, item_id: str, context: TContext) -> ThreadItem:
        """Return an item; raise ``NotFoundError`` when absent, ``IntegrityError`` when the SDK cannot read it."""
        owner = await self._owner(context)
        with _sdk_errors():
            newest = self._stored_ids(owner, thread_id, item_id)[-1]
            return items.item_of(await self._store.load_item(thread_id, newest, owner=owner))

    async def delete_thread(self, thread_id: str, context: TContext) -> None:
        """Delete a thread with its items and attachment records; quiet when absent."""
        async with self._writing(context) as owner:
            await self._store.delete_thread(thread_id, owner=owner)
            _known_threads.forget(self._key(owner, thread_id))
            _renamed_items.forget(self._key(owner, thread_id))

    async def delete_thread_item(self, thread_id: str, item_id: str, context: TContext) -> None:
        """Delete an item; quiet when absent."""
        async with self._writing(context) as owner:
            ids = self._stored_ids(owner, thread_id, item_id)
            if len(ids) == 1:
                await self._store.delete_thread_item(thread_id, ids[0], owner=owner)
            else:
                await self._store.delete_thread_items(thread_id, ids, owner=owner)

    async def save_attachment(self, attachment: Attachment, context: TContext) -> None:
        """Write what changed since the attachment was loaded or saved; insert one never stored.

        Raises ``NotFoundError`` where its thread is absent, or where it was loaded and is gone since.
        """
        async with self._writing(context) as owner:
            wanted = attachments.values_of(attachment)
            key = self._key(owner, attachment.id)
            known = _known_attachments.get(key) or await self._stored_attachment(attachment.id, owner)
            if known is None:
                await self._store.save_attachment(attachments.new_record(attachment), owner=owner)
            else:
                await self._merge_attachment(attachment, known, wanted, owner)
            _known_attachments.put(key, wanted)

    async def load_attachment(self, attachment_id: str, context: TContext) -> Attachment:
        """Return an attachment; raise ``NotFoundError`` when absent."""
        owner = await self._owner(context)
        with _sdk_errors():
            attachment = attachments.attachment_of(await self._store.load_attachment(attachment_id, owner=owner))
        _known_attachments.put(self._key(owner, attachment_id), attachments.values_of(attachment))
        return attachment

    async def delete_attachment(self, attachment_id: str, context: TContext) -> None:
        """Delete an attachment's record; quiet when absent."""
        async with self._writing(context) as owner:
            await self._store.delete_attachment(attachment_id, owner=owner)
            _known_attachments.forget(self._key(owner, attachment_id))

    async def _owner(self, context: TContext) -> Owner:
        with anyio.move_on_after(OWNER_SECONDS):
            return await resolve_owner(context, self._owner_of)
        raise UnavailableError(f"owner_of did not answer within {OWNER_SECONDS:g} s")

    @asynccontextmanager
    async def _writing(self, context: TContext) -> AsyncIterator[Owner]:
        """Find the owner of a write and shield both.

        A native cancellation is left to the store: it finishes its unit first, and no write here has two.
        """
        with anyio.CancelScope(shield=True), _sdk_errors():
            yield await self._owner(context)

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

    async def _stored_attachment(self, attachment_id: str, owner: Owner) -> attachments.Values | None:
        try:
            record = await self._store.load_attachment(attachment_id, owner=owner)
        except NotFoundError:
            return None
        return attachments.values_of(attachments.attachment_of(record))

    async def _merge_attachment(
        self, attachment: Attachment, known: attachments.Values, wanted: attachments.Values, owner: Owner
    ) -> None:
        changed = {name for name, value in wanted.items() if known.get(name) != value}
        fields: dict[str, Any] = {}
        if "name" in changed:
            fields["name"] = attachment.name
        if changed - {"name", "thread_id"}:
            record = await self._store.load_attachment(attachment.id, owner=owner)
            fields["metadata"] = attachments.merged_metadata(record, attachment, changed)
        joining = {"thread_id": attachment.thread_id} if "thread_id" in changed else {}
        try:
            await self._store.save_attachment(attachments.changed_record(attachment, fields | joining), owner=owner)
        except ConflictError:
            _logger.info("attachment %s stays in the thread that named it first", attachment.id)
            await self._store.save_attachment(attachments.changed_record(attachment, fields), owner=owner)


@contextmanager
def _sdk_errors() -> Iterator[None]:
    try:
        yield
    except NotFoundError as error:
        raise chatkit.store.NotFoundError(str(error)) from error


def _prefix(item_type: StoreItemType) -> str:
    return default_generate_id(item_type).rpartition("_")[0]


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
