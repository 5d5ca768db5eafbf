"""Real servers and fresh databases for every test, and a watch over the event loop."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

import boto3  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from blockbuster import blockbuster_ctx
from botocore import loaders, session  # type: ignore[import-untyped]

from chatstore import open_store
from chatstore.testing.servers import PostgreSQLServer, S3Server, Server, ServerUnavailable

LOOKS_BEFORE_CONNECTING = [
    ("sqlalchemy/dialects/sqlite/pysqlite.py", "create_connect_args"),
    ("asyncpg/connect_utils.py", "_parse_connect_dsn_and_args"),
]
"""Where a driver, once for each connection, completes a path or looks for a password file."""

MEASURING = ("coverage/collector.py", "lock_data")
"""Where the threads that are measured take turns."""

S = TypeVar("S", bound=Server)

Require: TypeAlias = Callable[[str], NoReturn]
StartServer: TypeAlias = Callable[[S], S]


def _require(reason: str) -> NoReturn:
    if os.environ.get("CHATSTORE_REQUIRE_SERVICES") == "1":
        pytest.fail(f"CHATSTORE_REQUIRE_SERVICES=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def _start(server: S) -> S:
    try:
        return server.start()
    except ServerUnavailable as error:
        _require(str(error))


@pytest.fixture(autouse=True, scope="session")
def _blocking_the_event_loop_fails() -> Iterator[None]:
    """Raise where chatstore's own code blocks a running loop; the test kit runs around it and may."""
    with blockbuster_ctx(
        scanned_modules=["chatstore"], excluded_modules=["chatstore.testing", "chatstore.pytest_plugin"]
    ) as watch:
        for function in watch.functions.values():
            for place, caller in [*LOOKS_BEFORE_CONNECTING, MEASURING]:
                function.can_block_in(place, caller)
        yield


@pytest.fixture(autouse=True, scope="session")
def _programs_are_not_measured() -> Iterator[None]:
    """Keep the measuring of coverage to the tests: a program that they start may be somebody else's, or is killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@pytest.fixture
def require() -> Require:
    """Call it with the reason when a service is missing: the test skips, or fails where services are required."""
    return _require


@pytest.fixture
def start_server() -> Iterator[StartServer[S]]:
    """Call it with a server of the test's own, which is started and, at the end of the test, stopped."""
    started: list[S] = []

    def start(server: S) -> S:
        started.append(server)
        return _start(server)

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQLServer]:
    """One PostgreSQL server for the whole session (of each worker), fast and not durable."""
    server = _start(PostgreSQLServer(durable=False))
    yield server
    server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _migrated_template(postgresql_server: PostgreSQLServer) -> AsyncIterator[str]:
    name = f"chatstore_template_{uuid.uuid4().hex}"
    async with open_store(await postgresql_server.create_database(name)):
        pass
    yield name
    await postgresql_server.drop_database(name)


@pytest.fixture
async def postgresql_url(postgresql_server: PostgreSQLServer, _migrated_template: str) -> AsyncIterator[str]:
    """The URL of a fresh database with chatstore's tables, for this test alone."""
    name = f"chatstore_test_{uuid.uuid4().hex}"
    yield await postgresql_server.create_database(name, template=_migrated_template)
    await postgresql_server.drop_database(name)


@pytest.fixture
async def empty_postgresql_url(postgresql_server: PostgreSQLServer) -> AsyncIterator[str]:
    """The URL of a fresh database without any table."""
    name = f"chatstore_test_{uuid.uuid4().hex}"
    yield await postgresql_server.create_database(name)
    await postgresql_server.drop_database(name)


@pytest.fixture(autouse=True, scope="session")
def _aws_clients_read_once() -> Iterator[None]:
    """Let all clients share what each reads of AWS's services from hundreds of files, for a third of a second."""
    create: Callable[[str | None], Any] = loaders.create_loader
    read: dict[Any, Any] = {}

    def create_with_what_was_read(search_path: str | None = None) -> Any:
        loader = create(search_path)
        loader._cache = read
        return loader

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "create_loader", create_with_what_was_read)
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One S3 server for the whole session (of each worker)."""
    server = _start(S3Server())
    yield server
    server.stop()


@pytest.fixture
def s3_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some credentials where the environment holds none; the server that tests start takes any."""
    _set_credentials(monkeypatch)


def _set_credentials(patch: pytest.MonkeyPatch) -> None:
    for name in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} - os.environ.keys():
        patch.setenv(name, "testing")


@pytest.fixture(scope="session")
def _s3_client(s3_server: S3Server) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        _set_credentials(patch)
        client = boto3.client("s3", endpoint_url=s3_server.url(), region_name="us-east-1")
    yield client
    client.close()


@pytest.fixture
def s3_bucket(_s3_client: Any, s3_credentials: None) -> str:
    """The name of a new bucket."""
    name = f"chatstore-{uuid.uuid4().hex}"
    _s3_client.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "chat.db"

    async def migrate() -> None:
        async with open_store(f"sqlite:///{path}"):
            pass

    asyncio.run(migrate())
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, _migrated_file: Path) -> str:
    """The URL of a fresh SQLite file with chatstore's tables."""
    return f"sqlite:///{shutil.copyfile(_migrated_file, tmp_path / 'chat.db')}"


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'chat.db'}"
