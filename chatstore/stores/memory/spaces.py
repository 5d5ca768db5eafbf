"""What the memory store keeps of each owner, and the plain functions that change it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from chatstore import inputs, instants, payloads, positions
from chatstore.errors import ConflictError, NotFoundError
from chatstore.ids import check_key
from chatstore.inputs import NewItem
from chatstore.merging import ThreadFields, merge
from chatstore.models import Attachment, Item, Thread, ThreadStatus


@dataclass(frozen=True, slots=True)
class ThreadRow:
    """A thread as it is kept; times are microseconds, ``created_at`` text."""

    id: str
    fields: ThreadFields
    created_at: str
    instant: int
    updated: int
    last_position: int = 0


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item as it was written, and its place."""

    new: NewItem
    position: int


@dataclass(frozen=True, slots=True)
class FileRow:
    """An attachment's record; ``key`` is where its bytes are, or are expected until ``expires``."""

    id: str
    name: str
    mime_type: str
    thread_id: str | None
    metadata: str
    created_at: str
    instant: int
    size: int | None = None
    sha256: str | None = None
    key: str | None = None
    sniffed: str | None = None
    declared_size: int | None = None
    expires: int | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the bytes are there."""
        return self.sha256 is not None

    @property
    def charge(self) -> int:
        """The bytes that the owner is charged for: stored, or announced."""
        return (self.size if self.is_ready else self.declared_size) or 0


@dataclass(slots=True)
class Conversation:
    """A thread, its items by id, and their (position, id) in order."""

    row: ThreadRow
    items: dict[str, ItemRow] = field(default_factory=dict)
    order: list[tuple[int, str]] = field(default_factory=list)

    def copy(self) -> Conversation:
        """Return a copy that can be changed by itself."""
        return Conversation(self.row, dict(self.items), list(self.order))


@dataclass(slots=True)
class Space:
    """Everything of one owner."""

    threads: dict[str, Conversation] = field(default_factory=dict)
    files: dict[str, FileRow] = field(default_factory=dict)
    deletions: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Blob keys waiting to be deleted: when they are due, and how often it was tried."""

    def copy(self) -> Space:
        """Return a copy that can be changed by itself."""
        threads = {id: thread.copy() for id, thread in self.threads.items()}
        return Space(threads, dict(self.files), dict(self.deletions))


def found(space: Space, thread_id: str, operation: str) -> Conversation:
    """Return the thread; raise ``NotFoundError`` when absent."""
    thread = space.threads.get(check_key(thread_id, "thread_id"))
    if thread is None:
        raise NotFoundError(f"{operation}: no thread {thread_id!r}")
    return thread


def found_item(space: Space, thread_id: str, item_id: str, operation: str) -> ItemRow:
    """Return the item; raise ``NotFoundError`` when it or its thread is absent."""
    check_key(thread_id, "thread_id"), check_key(item_id, "item_id")
    thread = space.threads.get(thread_id)
    row = None if thread is None else thread.items.get(item_id)
    if row is None:
        raise NotFoundError(f"{operation}: no item {item_id!r} in thread {thread_id!r}")
    return row


def insert_thread(space: Space, new: inputs.NewThread) -> ThreadRow:
    """Insert a thread and return its row."""
    row = ThreadRow(
        id=new.id,
        fields=ThreadFields(new.title, (new.status, new.reason), new.metadata),
        created_at=new.created_at,
        instant=new.instant,
        updated=instants.now_microseconds(),
    )
    space.threads[new.id] = Conversation(row)
    return row


def change_thread(thread: Conversation, changes: inputs.ThreadChanges, operation: str) -> Thread:
    """Write the changed fields and return the thread; raise as ``update_thread`` does."""
    fields = merge(thread.row.fields, changes, thread.row.id, operation)
    if fields is not thread.row.fields:
        thread.row = replace(thread.row, fields=fields)
        touch(thread)
    return thread_of(thread.row)


def touch(thread: Conversation) -> None:
    """Move a thread's time of last activity."""
    thread.row = replace(thread.row, updated=max(thread.row.updated, instants.now_microseconds()))


def check_same_item(thread: Conversation, new: NewItem, operation: str) -> None:
    """Raise ``ConflictError`` where the id is in use for an item of another time."""
    stored = thread.items.get(new.id)
    if stored is not None and new.dated and stored.new.created_at != new.created_at:
        raise ConflictError(f"{operation}: item {new.id!r} exists with another created_at")


def put_item(thread: Conversation, new: NewItem, at: int | None = None) -> ItemRow:
    """Replace an item in its place, or append it, or place it by time."""
    stored = thread.items.get(new.id)
    if stored is not None:
        if not new.dated or new.created_at == stored.new.created_at:
            new = replace(new, created_at=stored.new.created_at, instant=stored.new.instant)
        row = ItemRow(new, stored.position)
    else:
        row = ItemRow(new, _draw_position(thread, at))
        insort(thread.order, (row.position, new.id))
    thread.items[new.id] = row
    touch(thread)
    return row


def _draw_position(thread: Conversation, at: int | None) -> int:
    if at is not None:
        newest = thread.order[-positions.WINDOW - 1 :]
        spot = positions.placed([(position, thread.items[id].new.instant) for position, id in newest], at)
        if spot is not None:
            return spot
    position = positions.appended(instants.now_microseconds(), thread.row.last_position)
    thread.row = replace(thread.row, last_position=position)
    return position


def delete_items(thread: Conversation | None, ids: Sequence[str]) -> None:
    """Delete the items that are there."""
    if thread is None or not any(id in thread.items for id in ids):
        return
    for id in ids:
        thread.items.pop(id, None)
    thread.order = [(position, id) for position, id in thread.order if id in thread.items]
    touch(thread)


def thread_of(row: ThreadRow) -> Thread:
    """Return the model of a row."""
    return Thread.stored(
        id=row.id,
        title=row.fields.title,
        created_at=instants.from_text(row.created_at, row.instant),
        updated_at=instants.from_microseconds(row.updated),
        status=ThreadStatus.model_construct(type=row.fields.status[0], reason=row.fields.status[1]),
        metadata=payloads.decode(row.fields.metadata),
        revision=row.fields.revision,
    )


def item_of(thread_id: str, row: ItemRow) -> Item:
    """Return the model of a row, its payload still text."""
    return Item.of_payload(
        id=row.new.id,
        thread_id=thread_id,
        type=row.new.type,
        created_at=instants.from_text(row.new.created_at, row.new.instant),
        position=row.position,
        payload=row.new.payload,
    )


def attachment_of(row: FileRow) -> Attachment:
    """Return the model of a row."""
    return Attachment.stored(
        id=row.id,
        name=row.name,
        mime_type=row.mime_type,
        size=row.size,
        sha256=row.sha256,
        state="ready" if row.is_ready else "pending",
        thread_id=row.thread_id,
        metadata=payloads.decode(row.metadata),
        created_at=instants.from_text(row.created_at, row.instant),
    )


def delete_file(space: Space, attachment_id: str) -> None:
    """Delete a record and queue its bytes."""
    row = space.files.pop(attachment_id, None)
    if row is not None and row.key is not None:
        queue_deletion(space, row.key)


def queue_deletion(space: Space, key: str, delay: int = 0) -> None:
    """Queue bytes for deletion after ``delay`` microseconds; they go once no record has them."""
    _, attempts = space.deletions.get(key, (0, 0))
    space.deletions[key] = (instants.now_microseconds() + delay, attempts)
