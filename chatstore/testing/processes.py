"""Server programs as processes of their own, in a folder of their own, that never outlive this interpreter."""

from __future__ import annotations

import os
import pwd
import random
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_STOP_SECONDS = 10.0
_ROOM = 2 * 1024**3

_GUARD = """
cat > /dev/null
pid=$(cat "$0/pid" 2> /dev/null)
if [ -n "$pid" ]; then
    kill -INT "$pid"
    tries=0
    while kill -0 "$pid" && ! grep -q ') Z ' "/proc/$pid/stat" && [ $tries -lt 200 ]; do
        sleep 0.05; tries=$((tries + 1))
    done
    [ $tries -lt 200 ] || kill -KILL "$pid"
fi
rm -rf "$0"
"""
"""Waits until the interpreter lets go of its input, then ends the server that ``pid`` names and removes the folder.

A container's first process may never reap what has ended (state Z): that counts as gone.
"""


class Folder:
    """A temporary folder with a guard process: both go when this interpreter closes it, exits or is killed.

    With ``durable=False`` it lies in memory where the machine has room for it.
    """

    def __init__(self, account: pwd.struct_passwd | None = None, *, durable: bool = True) -> None:
        self.path: Path = Path(tempfile.mkdtemp(prefix="chatstore-", dir=None if durable else _memory()))
        if account is not None:
            os.chown(self.path, account.pw_uid, account.pw_gid)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def name_process(self, process_id: int | None) -> None:
        """Tell the guard which process to end, or that there is none."""
        text = "" if process_id is None else str(process_id)
        (self.path / "pid").write_text(text)

    def remove(self) -> None:
        """Remove the folder and wait until it is gone."""
        self._guard.communicate(timeout=2 * _STOP_SECONDS)


class Process:
    """One run of a server program, in a session of its own so that Ctrl-C reaches the tests alone."""

    def __init__(self, command: Sequence[str], log: Path, account: pwd.struct_passwd | None) -> None:
        self._alive, write_end = os.pipe()
        try:
            with log.open("ab") as output:
                self._popen = subprocess.Popen(
                    command,
                    pass_fds=[write_end],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    cwd="/",
                    env=environment(),
                    **run_as(account),
                )
        except BaseException:
            os.close(self._alive)
            raise
        finally:
            os.close(write_end)
        self.id: int = self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the program has not ended by itself."""
        return self._popen.poll() is None

    def end(self, how: signal.Signals) -> None:
        """Send ``how``, after ten seconds SIGKILL, and wait until the program and all it started are gone."""
        self._popen.send_signal(how)
        try:
            self._popen.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._wait_for_children()

    def _wait_for_children(self) -> None:
        # every child inherits the pipe's other end; it reads as ended when the last of them is gone
        with selectors.DefaultSelector() as selector:
            selector.register(self._alive, selectors.EVENT_READ)
            selector.select(_STOP_SECONDS)
        os.close(self._alive)


def _memory() -> Path | None:
    place = Path("/dev/shm")
    roomy = place.is_dir() and os.access(place, os.W_OK) and shutil.disk_usage(place).free > _ROOM
    return place if roomy else None


def environment() -> dict[str, str]:
    """Return this process's environment without PostgreSQL's own variables, which would redirect its programs."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def run_as(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return the options with which ``subprocess`` runs a program as ``account``; none for this process's own."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def runs_as(program: Path, account: pwd.struct_passwd) -> bool:
    """Return whether ``account`` may read and run ``program``."""
    try:
        ran = subprocess.run([program, "--version"], cwd="/", capture_output=True, check=False, **run_as(account))
    except PermissionError:
        return False
    return ran.returncode == 0


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    # below the range from which the system draws the ports of outgoing connections: one of those cannot take a
    # killed server's port before it is back
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listening(host: str, port: int) -> bool:
    """Return whether something accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True
