"""Blobs in a bucket of S3, or of a server that speaks its protocol; ``blobs="s3://bucket/prefix"``."""

from chatstore.blobs.s3.store import S3Blobs, open_s3

__all__: list[str] = ["S3Blobs", "open_s3"]
