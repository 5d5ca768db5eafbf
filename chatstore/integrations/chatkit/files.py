"""The files behind ChatKit's attachments: loaded with fresh URLs, saved without any, one thread each.

A file whose upload was begun on this store is *kept here*: what ChatKit's attachment says of its bytes is made from
the record on every load. Of any other attachment the bytes are elsewhere, and it comes back as it was saved.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeGuard

from chatkit.types import Attachment, ThreadItem, UserMessageItem

from chatstore import inputs, models
from chatstore.assembly import ChatStore
from chatstore.errors import ChatStoreError, ConflictError, NotFoundError
from chatstore.integrations.chatkit import attachments, exactness, ids, urls
from chatstore.integrations.chatkit.recent import Recent
from chatstore.owners import Owner
from chatstore.protocols import Capability, FileRecord

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownAttachment:
    """An attachment as ChatKit's object was when it was loaded or saved, and whether its file is kept here."""

    values: attachments.Values
    is_file: bool


_known_attachments: Recent[KnownAttachment] = Recent("chatstore_chatkit_attachments")


class Files:
    """The attachments of all owners, in the SDK's types: each call names whose."""

    def __init__(self, chat: ChatStore, expires_in: timedelta) -> None:
        self._chat = chat
        self._store = chat.store
        self._expires_in = expires_in
        self._token = object()

    async def load(self, attachment_id: str, owner: Owner) -> Attachment:
        """Return an attachment; raise ``NotFoundError`` when absent."""
        records = await self._store.load_files([attachment_id], owner=owner)
        if records:
            attachment = await self._shown(await self._completed(records[0], owner), owner)
        else:
            attachment = attachments.attachment_of(await self._store.load_attachment(attachment_id, owner=owner))
        self._remember(attachment, owner, is_file=bool(records))
        return attachment

    async def save(self, attachment: Attachment, owner: Owner) -> None:
        """Write what changed since the attachment was loaded or saved; insert one never stored."""
        wanted = attachments.values_of(attachment)
        known = _known_attachments.get(self._key(owner, attachment.id)) or await self._stored(attachment.id, owner)
        if known is None:
            await self._store.save_attachment(attachments.new_record(attachment), owner=owner)
        else:
            changed = attachments.changed_fields(known.values, wanted, is_file=known.is_file)
            await self._merge(attachment, changed, owner)
        self._remember(attachment, owner, is_file=known is not None and known.is_file)

    async def delete(self, attachment_id: str, owner: Owner) -> None:
        """Delete a record and queue its bytes; quiet when absent."""
        await self._store.delete_attachment(attachment_id, owner=owner)
        _known_attachments.forget(self._key(owner, attachment_id))

    async def refresh(self, items: Iterable[ThreadItem], owner: Owner) -> None:
        """Show the files of loaded messages as they are now; one that is gone or damaged stays as it was stored."""
        messages = [item for item in items if _has_attachments(item)]
        fresh: dict[str, Attachment] = {}
        for record in await self._records(messages, owner):
            try:
                fresh[record.attachment.id] = attachment = await self._shown(record, owner)
            except ChatStoreError as error:
                _logger.warning("attachment %s is shown without a URL: %s", record.attachment.id, error)
            else:
                self._remember(attachment, owner, is_file=True)
        for message in messages:
            named = [fresh.get(attachment.id, attachment) for attachment in message.attachments]
            message.attachments = [attachment.model_copy(deep=True) for attachment in named]

    async def for_storing(self, thread_id: str, item: ThreadItem, owner: Owner) -> ThreadItem:
        """Return an item as it is to be stored: no URL of a file kept here, and each file the thread's own.

        Raises ``NotFoundError`` for a file that is another thread's and not uploaded yet, ``LimitError`` where a
        record of its own for this thread would exceed a limit.
        """
        if not _has_attachments(item):
            return item
        exactness.check(item, item.type)
        records = {record.attachment.id: record.attachment for record in await self._records([item], owner)}
        named = [
            await self._of_thread(thread_id, attachment, records.get(attachment.id), owner)
            for attachment in item.attachments
        ]
        return item.model_copy(update={"attachments": named})

    async def _of_thread(
        self, thread_id: str, attachment: Attachment, record: models.Attachment | None, owner: Owner
    ) -> Attachment:
        if record is not None:
            return attachments.file_of(await self._joined(thread_id, record, owner))
        known = _known_attachments.get(self._key(owner, attachment.id))
        return attachments.without_urls(attachment) if known is not None and known.is_file else attachment

    async def _joined(self, thread_id: str, record: models.Attachment, owner: Owner) -> models.Attachment:
        if record.thread_id == thread_id:
            return record
        if record.thread_id is None:
            try:
                joining = record.model_copy(update={"thread_id": thread_id})
                return await self._store.save_attachment(joining, owner=owner)
            except ConflictError:
                pass  # another thread named it first, just now
        user = self._chat.for_user(owner.user, owner.tenant)
        copy_id = ids.derived_id("atc", record.id, thread_id)
        return await user.copy_attachment(record.id, thread_id=thread_id, id=copy_id)

    async def _records(self, messages: Sequence[UserMessageItem], owner: Owner) -> list[FileRecord]:
        named = dict.fromkeys(attachment.id for message in messages for attachment in message.attachments)
        keys = [id for id in named if ids.is_key(id)]
        records: list[FileRecord] = []
        for start in range(0, len(keys), inputs.MAX_BATCH):
            records += await self._store.load_files(keys[start : start + inputs.MAX_BATCH], owner=owner)
        return records

    async def _completed(self, record: FileRecord, owner: Owner) -> FileRecord:
        """Return the record, ready where its client has uploaded by a presigned request.

        ChatKit's client does not say when it has: it names the attachment in a message, which loads it.
        """
        chat, id = self._chat, record.attachment.id
        if record.attachment.state == "ready" or chat.attachments is None or chat.blobs is None:
            return record
        if Capability.PRESIGN_PUT not in chat.blobs.capabilities:
            return record
        try:
            await chat.attachments.complete(id, owner=owner)
        except NotFoundError:
            return record
        return await self._store.load_file(id, owner=owner)

    async def _shown(self, record: FileRecord, owner: Owner) -> Attachment:
        attachment, files = record.attachment, self._chat.attachments
        if files is None:
            return attachments.file_of(attachment)
        if attachment.state == "ready":
            preview = await urls.preview_of(files.links, record, owner, self._expires_in)
            return attachments.file_of(attachment, preview_url=preview)
        return attachments.file_of(
            attachment,
            preview_url=urls.preview_to_come(files.links, attachment, owner, self._expires_in),
            descriptor=await urls.descriptor_to_come(files.links, record, owner, self._expires_in),
        )

    async def _stored(self, attachment_id: str, owner: Owner) -> KnownAttachment | None:
        records = await self._store.load_files([attachment_id], owner=owner)
        if records:
            return KnownAttachment(attachments.values_of(attachments.file_of(records[0].attachment)), is_file=True)
        try:
            record = await self._store.load_attachment(attachment_id, owner=owner)
        except NotFoundError:
            return None
        return KnownAttachment(attachments.values_of(attachments.attachment_of(record)), is_file=False)

    async def _merge(self, attachment: Attachment, changed: set[str], owner: Owner) -> None:
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

    def _remember(self, attachment: Attachment, owner: Owner, *, is_file: bool) -> None:
        known = KnownAttachment(attachments.values_of(attachment), is_file)
        _known_attachments.put(self._key(owner, attachment.id), known)

    def _key(self, owner: Owner, id: str) -> tuple[object, Owner, str]:
        return self._token, owner, id


def _has_attachments(item: ThreadItem) -> TypeGuard[UserMessageItem]:
    return isinstance(item, UserMessageItem) and bool(item.attachments)
