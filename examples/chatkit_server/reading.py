from base64 import b64encode
from hashlib import sha256
from chatkit.agents import ThreadItemConverter
from chatstore import NotFoundError, UserStore
from examples.chatkit_server.offline_model import told


class FileReader(ThreadItemConverter):
    def __init__(self, user):
        self.user = user

    async def attachment_to_message_content(self, attachment):
        try:
            async with self.user.open_attachment(attachment.id) as chunks:
                data = b"".join([c async for c in chunks])
        except NotFoundError:
            return {"type": "input_text", "text": f"{attachment.name} (not there any more)"}
        if len(data) > 5_000_000:
            return {"type": "input_text", "text": told(attachment.name, len(data), sha256(data).hexdigest())}
        url = f"data:{attachment.mime_type};base64,{b64encode(data).decode()}"
        if attachment.type == "image":
            return {"type": "input_image", "image_url": url, "detail": "auto"}
        return {"type": "input_file", "file_data": url, "filename": attachment.name}
