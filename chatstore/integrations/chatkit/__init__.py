"""ChatKit's own server on a chatstore: ``ChatKitServer(ChatKitStore(store), ChatKitAttachmentStore(store))``."""

from __future__ import annotations

from chatstore.errors import ConfigurationError

try:
    from chatstore.integrations.chatkit.completion import complete_models

    complete_models()
    from chatstore.integrations.chatkit.store import ChatKitStore
    from chatstore.integrations.chatkit.uploads import ChatKitAttachmentStore
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] != "chatkit":
        raise
    raise ConfigurationError('ChatKitStore needs openai-chatkit: pip install "chatstore-py[chatkit]"') from _missing

__all__: list[str] = ["ChatKitAttachmentStore", "ChatKitStore"]
