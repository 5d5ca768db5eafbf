"""AttachmentContents: what a user attached, handed to a model.

It is imported from here, for it needs the Agents SDK, which takes a second to import.
"""

from __future__ import annotations

from chatkit.agents import ThreadItemConverter
from chatkit.types import Attachment
from openai.types.responses import ResponseInputContentParam

from chatstore import serving
from chatstore.assembly import ChatStore
from chatstore.errors import ConfigurationError, LimitError, NotFoundError
from chatstore.integrations.chatkit import ids
from chatstore.owners import Owner
from chatstore.protocols import FileRecord

MAX_BYTES = 20 * 1024 * 1024
"""How large a file may be that is handed to a model: it is held in memory, a third larger as a ``data:`` URL."""


class AttachmentContents(ThreadItemConverter):
    """The SDK's converter of thread items, with the files of one owner and of no other.

    Give ``owner`` from the request's context: a user's id or an :class:`~chatstore.owners.Owner`. ``max_bytes``
    bounds each file. For tags and hidden context override the SDK's methods as usual.
    """

    def __init__(self, store: ChatStore, owner: Owner | str, *, max_bytes: int = MAX_BYTES) -> None:
        if store.attachments is None:
            raise ConfigurationError("AttachmentContents: there is no place for bytes; open_store(blobs=...)")
        self._files = store.attachments
        self._owner = owner if isinstance(owner, Owner) else Owner(owner)
        self._max_bytes = max_bytes

    async def attachment_to_message_content(self, attachment: Attachment) -> ResponseInputContentParam:
        """Return an image that may be shown as ``input_image``, any other file as ``input_file``.

        Both carry the bytes as a ``data:`` URL, of a type that the bytes were found to be or a harmless one. A file
        that is gone, or not uploaded yet, is a sentence that says so: a conversation goes on without it. Raises
        ``LimitError`` for more than ``max_bytes``, ``IntegrityError`` for bytes that are missing or damaged.
        """
        try:
            record = await self._record(attachment.id)
            data = await self._bytes_of(record)
        except NotFoundError:
            return {"type": "input_text", "text": f"(The file {attachment.name!r} is not there.)"}
        declared = record.attachment.mime_type
        if serving.is_shown_image(declared, record.sniffed):
            return {"type": "input_image", "image_url": serving.data_url(declared, data), "detail": "auto"}
        name = serving.file_name(record.attachment.name)
        return {"type": "input_file", "filename": name, "file_data": serving.file_data_url(declared, data)}

    async def read(self, attachment_id: str) -> bytes:
        """Return the bytes of a file, held against its checksum.

        Raises ``NotFoundError`` where it is absent, another user's or not uploaded yet, and as
        :meth:`attachment_to_message_content` does.
        """
        return await self._bytes_of(await self._record(attachment_id))

    async def _record(self, attachment_id: str) -> FileRecord:
        if not ids.is_key(attachment_id):
            raise NotFoundError("attachment: there is none without a possible id")
        return await self._files.record(attachment_id, owner=self._owner)

    async def _bytes_of(self, record: FileRecord) -> bytes:
        attachment = record.attachment
        if attachment.size is None or attachment.size > self._max_bytes:
            raise LimitError(
                f"attachment {attachment.id!r}: more than the {self._max_bytes:,} bytes that are handed to a model",
                "max_bytes",
            )
        async with self._files.open(attachment.id, owner=self._owner) as chunks:
            return b"".join([chunk async for chunk in chunks])
