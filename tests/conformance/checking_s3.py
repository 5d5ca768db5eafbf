"""A server of the S3 protocol that checks what moto takes unseen: signatures, their expiry, and checksums."""

from __future__ import annotations

import shutil
import uuid
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aioboto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]

from chatstore.testing.servers import Server

REGION = "us-east-1"
ALLOWED = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'


class CheckingS3Server(Server):
    """``ministack``, where that is on the machine: it pins other versions of the driver than those of its clients.

    Install it in an environment of its own (``pipx install ministack``). It keeps its buckets in memory.
    """

    variable = "CHATSTORE_TEST_CHECKING_S3_URL"

    def url(self) -> str:
        """Return the endpoint's URL."""
        return self._found_url or f"http://127.0.0.1:{self._port}"

    async def make_user(self) -> dict[str, str]:
        """Return the credentials of a new user; those that everybody knows are not checked."""
        known = aioboto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
        async with known.client("iam", endpoint_url=self.url()) as iam:
            name = f"chatstore-{uuid.uuid4().hex}"
            await iam.create_user(UserName=name)
            await iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=ALLOWED)
            key = (await iam.create_access_key(UserName=name))["AccessKey"]
        return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    def client(self, credentials: dict[str, str], **options: Any) -> AbstractAsyncContextManager[Any]:
        """Return a client to be opened."""
        config = Config(signature_version="s3v4", retries={"total_max_attempts": 1}, **options)
        session = aioboto3.Session(**credentials, region_name=REGION)
        client: AbstractAsyncContextManager[Any] = session.client("s3", endpoint_url=self.url(), config=config)
        return client

    def _on_machine(self) -> Path | None:
        found = shutil.which("ministack")
        return Path(found) if found else None

    def _in_wheel(self) -> Path | None:
        return None

    def _missing(self) -> str:
        return "there is no ministack on the PATH, so signatures, their expiry and checksums are not checked"

    def _command(self, folder: Path) -> list[str]:
        settings = [f"HOME={folder}", "AUTH=true", f"GATEWAY_PORT={self._port}", "SERVICES=s3,iam,sts"]
        return ["env", "-C", str(folder), *settings, str(self._program)]
