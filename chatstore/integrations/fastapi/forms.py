"""The file of a ``multipart/form-data`` body, taken out of it while it arrives: nothing waits in memory or on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from chatstore.errors import InvalidInputError

MAX_OTHER_BYTES = 64 * 1024
"""How much of a form may be anything but the file."""


class FormFile:
    """The one file of a form; other fields are passed over.

    Every method raises ``InvalidInputError`` for a body that is no form, is cut short, or has no or a second file.
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        self.name: str = ""
        self.mime_type: str | None = None
        self._body = body
        self._parser = _parser(content_type, self)
        self._field, self._value = bytearray(), bytearray()
        self._headers: dict[str, bytes] = {}
        self._waiting: list[bytes] = []
        self._is_file = self._has_file = self._ended = False
        self._other_bytes = 0

    async def begin(self) -> None:
        """Read up to the file: its name and type are known then."""
        while not self._has_file:
            if not await self._read():
                raise InvalidInputError("form: holds no file; send a part with a filename")

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the file, and read the form to its end."""
        more = True
        while more:
            waiting, self._waiting = self._waiting, []
            for chunk in waiting:
                yield chunk
            more = await self._read() or bool(self._waiting)
        if not self._ended:
            raise InvalidInputError("form: ends before its last boundary")

    def on_part_begin(self) -> None:
        """Forget the headers of the part before."""
        self._headers = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a header's name."""
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a header's value."""
        self._value += data[start:end]

    def on_header_end(self) -> None:
        """Keep the header that is complete now."""
        self._headers[self._field.decode("latin-1").lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def on_headers_finished(self) -> None:
        """Note whether the part that follows is the file."""
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        self._is_file = b"filename" in options
        if not self._is_file:
            return
        if self._has_file:
            raise InvalidInputError("form: holds more than one file; send each by itself")
        self._has_file = True
        self.name = options[b"filename"].decode(errors="replace")
        self.mime_type = self._headers.get("content-type", b"").decode("latin-1") or None

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of the file."""
        if self._is_file:
            self._waiting.append(data[start:end])
            self._other_bytes -= end - start

    def on_end(self) -> None:
        """Note that the last boundary was read."""
        self._ended = True

    async def _read(self) -> bool:
        chunk = await anext(self._body, None)
        if chunk is None:
            return False
        self._other_bytes += len(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidInputError("form: not multipart/form-data with the boundary it names") from error
        if self._other_bytes > MAX_OTHER_BYTES:
            raise InvalidInputError(f"form: more than {MAX_OTHER_BYTES:,} bytes besides the file")
        return True


def _parser(content_type: str, form: FormFile) -> MultipartParser:
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise InvalidInputError("form: its Content-Type names no boundary")
    try:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": form.on_part_begin,
                "on_header_field": form.on_header_field,
                "on_header_value": form.on_header_value,
                "on_header_end": form.on_header_end,
                "on_headers_finished": form.on_headers_finished,
                "on_part_data": form.on_part_data,
                "on_end": form.on_end,
            },
        )
    except FormParserError as error:
        raise InvalidInputError("form: its boundary is too long") from error
