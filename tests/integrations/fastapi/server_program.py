"""A server over the given database and blobs, in a process of its own: prints its port and serves until it ends."""

from __future__ import annotations

import socket
import sys

import uvicorn
from fastapi import FastAPI, Header

from chatstore import open_store
from chatstore.integrations.fastapi import attachments_router


def user_of(x_user: str = Header()) -> str:
    return x_user


def main(url: str, blobs: str) -> None:
    store = open_store(url, blobs=blobs)
    app = FastAPI(lifespan=store.lifespan)
    app.include_router(attachments_router(store, user=user_of), prefix="/files")
    listening = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="critical")).run([listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
