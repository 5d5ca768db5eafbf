"""What the model is given of the files in a conversation."""

from hashlib import sha256

from chatkit.types import Attachment
from openai.types.responses import ResponseInputContentParam

from chatstore import ChatStore, IntegrityError, LimitError
from chatstore.integrations.chatkit.contents import AttachmentContents
from examples.chatkit_server.offline_model import fingerprint

_HANDED_OVER_BYTES = 5_000_000


class FileReader(AttachmentContents):
    """Hands over the files of one user; of a large one only what a look at every block of it has shown."""

    def __init__(self, store: ChatStore, user: str) -> None:
        super().__init__(store, user, max_bytes=_HANDED_OVER_BYTES)
        self._mine = store.for_user(user)

    async def attachment_to_message_content(self, attachment: Attachment) -> ResponseInputContentParam:
        try:
            return await super().attachment_to_message_content(attachment)
        except LimitError:
            return {"type": "input_text", "text": await self._looked_at(attachment)}
        except IntegrityError:
            return {"type": "input_text", "text": f"(The file {attachment.name!r} is damaged.)"}

    async def _looked_at(self, attachment: Attachment) -> str:
        digest, size = sha256(), 0
        async with self._mine.open_attachment(attachment.id) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
        return fingerprint(attachment.name, size, digest.hexdigest())
