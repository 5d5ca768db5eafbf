"""Two files that are made in code: a recording of 20 MB, never held as a whole, and a small picture."""

import struct
import zlib
from collections.abc import AsyncIterator
from random import Random

RECORDING_BYTES = 20_000_000

_BLOCK_BYTES = 65_536
_SAMPLES_PER_SECOND = 44_100


async def recording(seed: int = 1) -> AsyncIterator[bytes]:
    """Yield a WAV file of noise in stereo, block by block; the same seed makes the same file."""
    yield _wav_header(RECORDING_BYTES)
    noise = Random(seed)
    left = RECORDING_BYTES - 44
    while left:
        block = noise.randbytes(min(left, _BLOCK_BYTES))
        left -= len(block)
        yield block


def _wav_header(file_bytes: int) -> bytes:
    """Return the 44 bytes before 16-bit samples of two channels."""
    frame_bytes = 4
    rate = _SAMPLES_PER_SECOND
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, rate, rate * frame_bytes, frame_bytes, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", file_bytes - 8, b"WAVE") + form + struct.pack("<4sI", b"data", file_bytes - 44)
    )


def picture(width: int = 320, height: int = 200) -> bytes:
    """Return a PNG of a sun over the sea."""
    rows = (b"\0" + b"".join(_colour(x, y, width, height) for x in range(width)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _colour(x: int, y: int, width: int, height: int) -> bytes:
    horizon = height * 0.62
    if y > horizon:
        shade = int(60 * (y - horizon) / (height - horizon))
        return bytes((20 + shade // 3, 90 + shade // 2, 130 + shade))
    if (x - width * 0.7) ** 2 + (y - height * 0.4) ** 2 < (height * 0.14) ** 2:
        return bytes((255, 214, 92))
    return bytes((250, 150 + int(70 * y / horizon), 110 + int(90 * y / horizon)))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
