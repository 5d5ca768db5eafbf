"""ChatKitAttachmentStore: the SDK's ``AttachmentStore`` on a chatstore."""

from datetime import timedelta

from chatkit.store import AttachmentStore, TContext
from chatkit.types import Attachment, AttachmentCreateParams

from chatstore.assembly import ChatStore
from chatstore.errors import ConfigurationError
from chatstore.integrations.chatkit import attachments, ids, urls
from chatstore.integrations.chatkit.callers import Callers
from chatstore.links import check_lifetime
from chatstore.owners import OwnerOf, user_id_of
from chatstore.protocols import Capability


class ChatKitAttachmentStore(AttachmentStore[TContext]):
    """Two-phase uploads into a :class:`~chatstore.ChatStore`, beside a ``ChatKitStore`` on the same one.

    ``ChatKitServer(ChatKitStore(store), ChatKitAttachmentStore(store))``. ``owner_of`` is as for ``ChatKitStore``;
    ``expires_in`` is how long a client may take to begin its upload, at most seven days.

    The limits of ``open_store`` hold. Errors are chatstore's own. Raises ``ConfigurationError`` for a store without
    blobs, or one that can make no URLs to upload to.
    """

    def __init__(
        self, store: ChatStore, *, owner_of: OwnerOf = user_id_of, expires_in: timedelta = timedelta(hours=1)
    ) -> None:
        if store.attachments is None or store.blobs is None:
            raise ConfigurationError("ChatKitAttachmentStore: there is no place for bytes; open_store(blobs=...)")
        if store.signer is None and Capability.PRESIGN_PUT not in store.blobs.capabilities:
            raise ConfigurationError(
                "ChatKitAttachmentStore: the blob store cannot presign; give open_store(signing_keys=...,"
                " public_url=...) and mount attachments_router"
            )
        self._store = store.store
        self._files = store.attachments
        self._callers = Callers(owner_of)
        self._expires_in = check_lifetime(expires_in)

    def generate_attachment_id(self, mime_type: str, context: TContext) -> str:
        """Return a fresh attachment id: ``atc_`` and a UUIDv7 in hex."""
        return ids.fresh_id("attachment")

    async def create_attachment(self, input: AttachmentCreateParams, context: TContext) -> Attachment:
        """Begin an upload: a pending attachment, and the request that its client sends the bytes with.

        It is an image where its preview can be shown as soon as the bytes are there, by a route of the application's
        own. Raises ``LimitError`` for a file that a limit forbids, ``InvalidInputError`` for a name, type or size
        that none can have.
        """
        id = self.generate_attachment_id(input.mime_type, context)
        async with self._callers.writing(context) as owner:
            upload = await self._files.begin(
                input.name,
                owner=owner,
                mime_type=input.mime_type,
                size=input.size,
                expires_in=self._expires_in,
                id=id,
            )
        return attachments.file_of(
            upload.attachment,
            preview_url=urls.preview_to_come(self._files.links, upload.attachment, owner, self._expires_in),
            descriptor=urls.descriptor_of(upload),
        )

    async def delete_attachment(self, attachment_id: str, context: TContext) -> None:
        """Delete an attachment; its bytes go with the next sweep. Quiet when absent or another user's."""
        async with self._callers.writing(context) as owner:
            await self._store.delete_attachment(attachment_id, owner=owner)
