"""What a PostgreSQL server says, cut into messages: a byte that names the kind, four of length, the rest."""

from __future__ import annotations

from collections.abc import Iterator

COMMAND_COMPLETE = b"C"
READY_FOR_QUERY = b"Z"
DATA_ROW = b"D"
ERROR_RESPONSE = b"E"

_HEAD = 5


class Messages:
    """Collects the bytes of one connection and gives out whole messages.

    The one byte with which a server refuses encryption is a message of its own. Where it accepts, all that follows is
    one message without a kind, for nobody outside can read it.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._begun = False
        self._encrypted = False

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the kind and the bytes of each message that ``data`` completes."""
        self._bytes += data
        if not self._begun and self._bytes:
            # an unencrypted server begins with R, E or v: no message has the letters of these answers
            self._begun = True
            self._encrypted = self._bytes.startswith((b"S", b"G"))
            if self._bytes.startswith(b"N"):
                self._begun = False
                yield b"", self._take(1)
        if self._encrypted and self._bytes:
            yield b"", self._take(len(self._bytes))
        while len(self._bytes) >= _HEAD and len(self._bytes) > (size := int.from_bytes(self._bytes[1:_HEAD])):
            self._begun = True
            yield bytes(self._bytes[:1]), self._take(size + 1)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._bytes[:count])
        del self._bytes[:count]
        return taken
