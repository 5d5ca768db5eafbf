"""Serve the example on this machine until it is stopped."""

import argparse
import asyncio
import socket
from contextlib import suppress

import uvicorn

from examples.chatkit_server.app import create_app
from examples.chatkit_server.files import open_with_files


def _listen(port: int | None) -> socket.socket:
    """Return a loopback socket: on the port asked for, else on 8000 if that is free, else on any."""
    for candidate in [8000, 0] if port is None else [port]:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", candidate))
            return listener
        except OSError as error:
            listener.close()
            refusal = error
    raise SystemExit(f"Port {port} cannot be used: {refusal.strerror}")


def _address(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


class _Server(uvicorn.Server):
    """Says where it is once it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            print(f"{_address(listener)}  (stop with Ctrl+C)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.chatkit_server", description=__doc__)
    parser.add_argument("--url", default="sqlite:///chat.db", help="where conversations are kept (%(default)s)")
    parser.add_argument("--blobs", default="file:./chat.files", help="where files are kept, or sql (%(default)s)")
    parser.add_argument("--port", type=int, help="0 picks a free one (8000, or a free one if that is taken)")
    options = parser.parse_args()
    with _listen(options.port) as listener, suppress(KeyboardInterrupt):
        app = create_app(open_with_files(options.url, options.blobs, _address(listener)))
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
        asyncio.run(_Server(config).serve([listener]))


if __name__ == "__main__":
    main()
