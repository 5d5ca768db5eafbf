"""PgBouncer before a PostgreSQL server, where the machine has one."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from chatstore.testing.processes import Folder
from chatstore.testing.servers import PostgreSQLServer, Server

_PROGRAM = "pgbouncer"


def has_pgbouncer() -> bool:
    """Return whether the program is there; no package of Python's brings it."""
    return _find() is not None


def _find() -> str | None:
    return shutil.which(_PROGRAM) or shutil.which(_PROGRAM, path="/usr/sbin:/usr/local/sbin")


class PgBouncer(Server):
    """Gives few connections of a server to many clients, each for a transaction or, in that mode, for a session.

    It drops parameters that are ``ignored``, and refuses others that it does not know.
    """

    variable = "CHATSTORE_TEST_PGBOUNCER_URL"

    def __init__(
        self, server: PostgreSQLServer, *, connections: int = 4, mode: str = "transaction", ignored: str = ""
    ) -> None:
        super().__init__(source="machine")
        self._server = server
        self._connections = connections
        self._mode = mode
        self._ignored = ignored

    def url(self, database_url: str) -> str:
        """Return the URL of a database of the server, by way of this."""
        parts = urlsplit(database_url)
        return parts._replace(netloc=f"{parts.username}@127.0.0.1:{self._port}").geturl()

    def _on_machine(self) -> Path | None:
        found = _find()
        return Path(found) if found else None

    def _in_wheel(self) -> Path | None:
        return None

    def _missing(self) -> str:
        return "there is no pgbouncer program"

    def _start_program(self) -> None:
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._folder = Folder(self._account)
        super()._start_program()

    def _command(self, folder: Path) -> list[str]:
        upstream = urlsplit(self._server.url())
        password = f" password={unquote(upstream.password)}" if upstream.password else ""
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self._port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": self._mode,
            "default_pool_size": self._connections,
            "max_client_conn": 500,
            "ignore_startup_parameters": self._ignored,
            "server_login_retry": 1,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        place = f"host={upstream.hostname} port={upstream.port or 5432} user={upstream.username}{password}"
        path = folder / "pgbouncer.ini"
        path.write_text("\n".join(["[databases]", f"* = {place}", "[pgbouncer]", *lines, ""]))
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)
        return [str(self._program), str(path)]
