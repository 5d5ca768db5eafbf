"""The command line: ``chatstore migrate``, ``sweep`` and ``verify``."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Literal

from chatstore.assembly import ChatStore
from chatstore.errors import ChatStoreError, ConfigurationError, IntegrityError
from chatstore.opening import open_store
from chatstore.sweeping import Finding, Swept


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 for words that are not understood."""
    options = _parser().parse_args(arguments)
    try:
        print(options.run(options))
    except ChatStoreError as error:
        print(f"chatstore: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chatstore", description="Keep the conversations of chat and agent servers.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    migrate = commands.add_parser(
        "migrate",
        help="make the tables, or bring them to the newest revision",
        description="Make the tables, or bring them to the newest revision. Safe when several processes do it at once.",
    )
    migrate.add_argument("url", nargs="?", default=os.environ.get("CHATSTORE_URL"), metavar="URL")
    migrate.add_argument("--sql", action="store_true", help="print the DDL for an empty database instead of running it")
    migrate.add_argument("--check", action="store_true", help="change nothing; fail when the tables are not up to date")
    _add_tables(migrate, _migrate)
    sweep = commands.add_parser(
        "sweep",
        help="delete the bytes that no attachment needs any more",
        description="Delete uploads that never finished, bytes of deleted attachments, and old bytes without a record.",
    )
    _add_places(sweep)
    sweep.add_argument(
        "--grace-hours", type=float, default=24.0, metavar="N", help="how old bytes without a record are; 24"
    )
    _add_tables(sweep, _sweep)
    verify = commands.add_parser(
        "verify",
        help="read all bytes and list what is missing, damaged or without a record",
        description="Read all bytes; fail when some are missing or damaged. Bytes without a record are listed only.",
    )
    _add_places(verify)
    _add_tables(verify, _verify)
    return parser


def _add_places(command: argparse.ArgumentParser) -> None:
    command.add_argument("url", nargs="?", default=os.environ.get("CHATSTORE_URL"), metavar="URL")
    command.add_argument(
        "--blobs", required=True, metavar="URL", help="where the bytes are: file:./blobs, s3://..., sql"
    )


def _add_tables(command: argparse.ArgumentParser, run: Callable[[argparse.Namespace], str]) -> None:
    command.add_argument("--schema", help="the PostgreSQL schema of the tables")
    command.add_argument("--prefix", default="chatstore_", help="what the tables' names begin with")
    command.set_defaults(run=run)


def _with_blobs(options: argparse.Namespace) -> ChatStore:
    if not options.url:
        raise ConfigurationError("say which database: chatstore COMMAND URL, or set CHATSTORE_URL")
    return open_store(options.url, blobs=options.blobs, migrate="check", schema=options.schema, prefix=options.prefix)


def _sweep(options: argparse.Namespace) -> str:
    try:
        grace = timedelta(hours=options.grace_hours)
    except (OverflowError, ValueError):
        raise ConfigurationError("--grace-hours: must be a number of hours") from None
    swept = asyncio.run(_swept(_with_blobs(options), grace))
    return (
        f"{swept.expired_uploads} uploads had run out, {swept.deleted_blobs} blobs and {swept.orphans} orphans deleted,"
        f" {swept.failed_deletions} deletions failed and are tried again"
    )


async def _swept(store: ChatStore, grace: timedelta) -> Swept:
    async with store:
        return await store.admin().sweep(grace=grace)


def _verify(options: argparse.Namespace) -> str:
    counts = asyncio.run(_verified(_with_blobs(options)))
    total = f"{counts['missing']} missing, {counts['damaged']} damaged, {counts['orphan']} orphans"
    if counts["missing"] or counts["damaged"]:
        raise IntegrityError(f"verify: {total}")
    return total


async def _verified(store: ChatStore) -> Counter[str]:
    counts: Counter[str] = Counter()
    async with store:
        async for finding in store.admin().verify():
            counts[finding.kind] += 1
            print(_line(finding))
    return counts


def _line(finding: Finding) -> str:
    if finding.owner is None:
        return f"{finding.kind} {finding.key}"
    owner = finding.owner
    whose = f"tenant={owner.tenant!r} user={owner.user!r}"
    return f"{finding.kind} {finding.key} attachment={finding.attachment_id!r} {whose}"


def _migrate(options: argparse.Namespace) -> str:
    if not options.url:
        raise ConfigurationError("say which database: chatstore migrate URL, or set CHATSTORE_URL")
    how: Literal["check", "auto"] = "check" if options.check else "auto"
    store = open_store(options.url, migrate=how, schema=options.schema, prefix=options.prefix)
    if options.sql:
        from chatstore.sql.schema import migration_sql

        if not hasattr(store.store, "database"):
            raise ConfigurationError("url: a store without a database has no tables")

        return migration_sql(options.url, prefix=options.prefix, schema=options.schema)
    asyncio.run(_open(store))
    return "the tables are up to date"


async def _open(store: ChatStore) -> None:
    async with store:
        pass
