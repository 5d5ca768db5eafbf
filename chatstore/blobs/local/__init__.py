"""Blobs as files below one folder; ``blobs="file:./blobs"``."""

from chatstore.blobs.local.store import LocalBlobs, open_local

__all__: list[str] = ["LocalBlobs", "open_local"]
