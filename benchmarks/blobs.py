"""Measure blobs in files and in S3 against the bare drivers: ``python -m benchmarks.blobs --help``.

Each round does everything once, chatstore and the driver in turns. A ratio is the driver's time divided by
chatstore's in the same round: 1 is as fast, 0.5 takes twice as long. What is durable is flushed on both sides. The S3
server runs in a process of its own and keeps its objects in memory, or is the one that CHATSTORE_TEST_S3_URL names.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aioboto3  # type: ignore[import-untyped]
import aiofiles  # type: ignore[import-untyped]

from chatstore.blobs.local import LocalBlobs
from chatstore.blobs.s3 import S3Blobs
from chatstore.protocols import BlobStore
from chatstore.testing.servers import S3Server

MIB = 1024 * 1024
CHUNK_BYTES = 256 * 1024
TYPE = "application/octet-stream"
KEY = "benchmark"
REGION = "us-east-1"

Call = Callable[[], Awaitable[None]]
Chunks = list[bytes]


@dataclass(frozen=True)
class Sample:
    """One pass: seconds on the clock, and of this process's processors, all its threads."""

    seconds: float
    cpu: float


@dataclass(frozen=True)
class Case:
    """One thing to do, by chatstore and by the driver alone; ``before`` is not timed."""

    name: str
    mebibytes: int
    driver: Call
    chatstore: Call
    before: Call
    samples: dict[str, list[Sample]] = field(default_factory=lambda: {"driver": [], "chatstore": []})

    async def round(self, number: int) -> None:
        """Do it both ways, the other way first in every second round."""
        calls = [("driver", self.driver), ("chatstore", self.chatstore)]
        for name, call in calls[:: -1 if number % 2 else 1]:
            await self.before()
            start, cpu = time.perf_counter(), time.process_time()
            await call()
            self.samples[name].append(Sample(time.perf_counter() - start, time.process_time() - cpu))

    def figures(self) -> dict[str, Any]:
        """Return medians, and the quartiles of the ratio."""
        pairs = list(zip(self.samples["driver"], self.samples["chatstore"], strict=True))
        ratios = sorted(driver.seconds / chatstore.seconds for driver, chatstore in pairs)
        quarters = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        sides = {name: _medians(samples) for name, samples in self.samples.items()}
        return {"case": self.name, "mebibytes": self.mebibytes, "rounds": len(ratios), "ratio": quarters, **sides}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for, print a table and write the figures where that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blobs", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=100, help="no round is begun after so many")
    parser.add_argument("--folder", type=Path, help="where files are written; the folder of temporary files otherwise")
    parser.add_argument("--output", type=Path, help="where the figures are written as JSON")
    asked = parser.parse_args(arguments)
    results = asyncio.run(_measure(asked.rounds, asked.seconds, asked.folder))
    print(_table(results["cases"]))
    print(", ".join(f"{name}: {value}" for name, value in results["machine"].items()))
    if asked.output:
        asked.output.write_text(json.dumps(results, indent=1) + "\n")


async def _measure(rounds: int, seconds: float, parent: Path | None) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatstore-blobs-", dir=parent)))
        server = stack.enter_context(S3Server())
        cases = [*await _local_cases(stack, folder, 200), *await _s3_cases(stack, server.url(), [1, 4, 50])]
        for case in cases:
            await case.round(0)  # connections, folders, threads
            for samples in case.samples.values():
                samples.clear()
        for number in range(rounds):
            if time.monotonic() > deadline:
                break
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            for case in cases:
                await case.round(number)
    return {"machine": _machine(), "cases": [case.figures() for case in cases]}


async def _local_cases(stack: AsyncExitStack, folder: Path, mebibytes: int) -> list[Case]:
    source, copy = folder / "source", folder / "copy"
    await asyncio.to_thread(source.write_bytes, b"".join(_chunks(mebibytes)))
    blobs = await stack.enter_async_context(LocalBlobs(folder / "blobs"))

    async def absent() -> None:
        await asyncio.to_thread(copy.unlink, missing_ok=True)
        await blobs.delete(KEY)

    async def present() -> None:
        if not copy.exists() or await blobs.stat(KEY) is None:
            await _copy(source, copy)
            await blobs.put(KEY, source, content_type=TYPE)

    async def put() -> None:
        await blobs.put(KEY, source, content_type=TYPE)

    return [
        Case("put into a file", mebibytes, lambda: _copy(source, copy), put, absent),
        Case("read a file", mebibytes, lambda: _read_file(copy), lambda: _read(blobs), present),
    ]


async def _copy(source: Path, target: Path) -> None:
    """Copy a file, hash it on the way, and flush it."""
    digest = hashlib.sha256()
    async with aiofiles.open(source, "rb") as reading, aiofiles.open(target, "wb") as writing:
        while chunk := await reading.read(CHUNK_BYTES):
            digest.update(chunk)
            await writing.write(chunk)
        await writing.flush()
        await asyncio.to_thread(os.fsync, writing.fileno())


async def _read_file(path: Path) -> None:
    async with aiofiles.open(path, "rb") as file:
        while await file.read(CHUNK_BYTES):
            pass


async def _s3_cases(stack: AsyncExitStack, endpoint: str, sizes: list[int]) -> list[Case]:
    for name in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} - os.environ.keys():
        os.environ[name] = "testing"
    bucket = f"chatstore-{os.urandom(8).hex()}"
    session = aioboto3.Session()
    client = await stack.enter_async_context(session.client("s3", endpoint_url=endpoint, region_name=REGION))
    await client.create_bucket(Bucket=bucket)
    blobs = await stack.enter_async_context(S3Blobs(bucket, endpoint_url=endpoint, region=REGION))
    return [case for size in sizes for case in _s3_pair(client, bucket, blobs, size)]


def _s3_pair(client: Any, bucket: str, blobs: BlobStore, mebibytes: int) -> list[Case]:
    chunks = _chunks(mebibytes)

    async def put_object() -> None:
        await client.put_object(Bucket=bucket, Key="driver", Body=b"".join(chunks))

    async def put() -> None:
        await blobs.put(KEY, _stream(chunks), content_type=TYPE)

    async def get_object() -> None:
        body = (await client.get_object(Bucket=bucket, Key="driver"))["Body"]
        while await body.read(CHUNK_BYTES):
            pass

    async def both() -> None:
        stat = await blobs.stat(KEY)
        if stat is None or stat.size != mebibytes * MIB:
            await put()
            await put_object()

    return [
        Case("put into S3", mebibytes, put_object, put, _nothing),
        Case("read from S3", mebibytes, get_object, lambda: _read(blobs), both),
    ]


async def _read(blobs: BlobStore) -> None:
    async with blobs.open(KEY) as found:
        async for _ in found:
            pass


async def _nothing() -> None:
    pass


async def _stream(chunks: Chunks) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def _chunks(mebibytes: int) -> Chunks:
    return [os.urandom(CHUNK_BYTES) for _ in range(mebibytes * MIB // CHUNK_BYTES)]


def _medians(samples: list[Sample]) -> dict[str, float]:
    return {
        "seconds": statistics.median(sample.seconds for sample in samples),
        "cpu": statistics.median(sample.cpu for sample in samples),
    }


def _machine() -> dict[str, Any]:
    names = (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    packages = {package: version(package) for package in ("aioboto3", "aiofiles", "aiohttp", "moto")}
    return {
        "processor": f"{os.cpu_count()} x {next(names, platform.machine())}",
        "system": platform.platform(),
        "python": platform.python_version(),
        **packages,
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _table(cases: list[dict[str, Any]]) -> str:
    head = f"{'':18}{'MiB':>5}{'ratio':>8}{'quartiles':>14}{'driver':>10}{'chatstore':>11}{'CPU':>16}"
    return "\n".join([head, *(_row(case) for case in cases)])


def _row(case: dict[str, Any]) -> str:
    low, middle, high = case["ratio"]
    driver, chatstore = case["driver"], case["chatstore"]
    quartiles = f"{low:.2f} to {high:.2f}"
    processor = f"{driver['cpu'] * 1e3:.0f} : {chatstore['cpu'] * 1e3:.0f} ms"
    times = f"{driver['seconds'] * 1e3:7.0f} ms{chatstore['seconds'] * 1e3:8.0f} ms"
    return f"{case['case']:18}{case['mebibytes']:5}{middle:8.2f}{quartiles:>14}{times}{processor:>16}"


if __name__ == "__main__":
    main()
