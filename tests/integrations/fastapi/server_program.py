"""A server of files in the folder that is given, in a process of its own: prints its port and serves until it ends."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Header

from chatstore import open_store
from chatstore.integrations.fastapi import attachments_router


def user_of(x_user: str = Header()) -> str:
    return x_user


def main(folder: Path) -> None:
    store = open_store(f"sqlite:///{folder / 'chat.db'}", blobs=f"file:{folder / 'blobs'}")
    app = FastAPI(lifespan=store.lifespan)
    app.include_router(attachments_router(store, user=user_of), prefix="/files")
    listening = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="critical")).run([listening])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
