"""A server's memory does not grow with the files that pass through it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

MIB = 1024 * 1024
SIZE = 50 * MIB
ALLOWED = 16 * MIB
PROGRAM = Path(__file__).with_name("server_program.py")
BOUNDARY = b"--cut\r\nContent-Disposition: form-data; name=file; filename=big.bin\r\n\r\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[psutil.Process, str]]:
    """A server in a process of its own, and where it is."""
    command = [sys.executable, str(PROGRAM), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield psutil.Process(process.pid), f"http://127.0.0.1:{int(process.stdout.readline())}/files"
        finally:
            process.terminate()


def peak(process: psutil.Process) -> int:
    """Return the most memory that a process ever held."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def body(size: int, form: bool) -> Iterator[bytes]:
    """Yield bytes that are made as they are sent."""
    if form:
        yield BOUNDARY
    block = bytes(range(256)) * 256
    for _ in range(size // len(block)):
        yield block
    if form:
        yield b"\r\n--cut--\r\n"


def up_and_down(client: httpx.Client, url: str, size: int, form: bool) -> bool:
    """Upload and download; say whether the bytes came back."""
    kind = "multipart/form-data; boundary=cut" if form else "application/octet-stream"
    answer = client.post(url, params={"name": "big.bin"}, content=body(size, form), headers={"Content-Type": kind})
    digest, count = hashlib.sha256(), 0
    with client.stream("GET", f"{url}/{answer.json()['id']}/content") as content:
        for chunk in content.iter_bytes():
            digest.update(chunk)
            count += len(chunk)
    return (count, digest.hexdigest()) == (size, answer.json()["sha256"])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see the peak of a process")
@pytest.mark.parametrize("form", [False, True])
def test_a_large_file_up_and_down_takes_no_more_memory_than_a_small_one(
    server: tuple[psutil.Process, str], form: bool
) -> None:
    process, url = server
    with httpx.Client(headers={"X-User": "ann"}, timeout=60) as client:
        assert up_and_down(client, url, 64 * 1024, form)
        before = peak(process)
        assert up_and_down(client, url, SIZE, form)
        grown = peak(process) - before
    assert grown <= ALLOWED, f"{grown / MIB:.1f} MiB more"
