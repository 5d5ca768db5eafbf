"""The command line: ``chatstore migrate``, ``sweep`` and ``verify``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Literal

from chatstore.assembly import ChatStore
from chatstore.errors import ChatStoreError, ConfigurationError
from chatstore.opening import open_store
from chatstore.sweeping import Finding, Swept

FOUND = 3
"""The exit code where a command was done, and there is something to look after."""

_EXIT_CODES = (
    "exit codes: 0 done, nothing wrong; 1 it could not be done; 2 words that are not understood;"
    " 3 verify found missing or damaged bytes, or sweep could not delete all; 130 stopped by Ctrl-C"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, and nothing wrong was found; 1 it could not be done, for the reason on stderr; 2 words that are not
    understood; 3 done, but ``verify`` found missing or damaged bytes, or ``sweep`` could not delete all; 130 stopped
    by Ctrl-C, to be run again.
    """
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except ChatStoreError as error:
        _clear_line()
        print(f"chatstore: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _clear_line()
        print("chatstore: stopped; run it again to go on", file=sys.stderr)
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chatstore", description="Keep the conversations of chat and agent servers.", epilog=_EXIT_CODES
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    migrate = commands.add_parser(
        "migrate",
        help="make the tables, or bring them to the newest revision",
        description="Make the tables, or bring them to the newest revision. Safe when several processes do it at once.",
    )
    migrate.add_argument("url", nargs="?", default=os.environ.get("CHATSTORE_URL"), metavar="URL")
    migrate.add_argument("--sql", action="store_true", help="print the DDL for an empty database instead of running it")
    migrate.add_argument("--check", action="store_true", help="change nothing; fail when the tables are not up to date")
    migrate.add_argument(
        "--row-security", action="store_true", help="let PostgreSQL itself keep the rows of one owner from another"
    )
    migrate.add_argument(
        "--role", help="with --row-security: grant this role, which a store connects as, what it needs"
    )
    _add_tables(migrate, _migrate)
    sweep = commands.add_parser(
        "sweep",
        help="delete the bytes that no attachment needs any more",
        description="Delete uploads that never finished, bytes of deleted attachments, and old bytes without a record.",
        epilog=_EXIT_CODES,
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
        epilog=_EXIT_CODES,
    )
    _add_places(verify)
    _add_tables(verify, _verify)
    return parser


def _add_places(command: argparse.ArgumentParser) -> None:
    command.add_argument("url", nargs="?", default=os.environ.get("CHATSTORE_URL"), metavar="URL")
    command.add_argument(
        "--blobs", required=True, metavar="URL", help="where the bytes are: file:./blobs, s3://..., sql"
    )
    command.add_argument("--json", action="store_true", help="print JSON, one object a line")
    command.add_argument("--row-security", action="store_true", help="the tables have row security")


def _add_tables(command: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    command.add_argument("--schema", help="the PostgreSQL schema of the tables")
    command.add_argument("--prefix", default="chatstore_", help="what the tables' names begin with")
    command.add_argument("--pgbouncer", action="store_true", help="the URL is PgBouncer's, in transaction mode")
    command.set_defaults(run=run)


def _with_blobs(options: argparse.Namespace) -> ChatStore:
    if not options.url:
        raise ConfigurationError("say which database: chatstore COMMAND URL, or set CHATSTORE_URL")
    return _opened(options, blobs=options.blobs, migrate="check", row_security=options.row_security)


def _opened(
    options: argparse.Namespace,
    *,
    migrate: Literal["check", "auto"],
    blobs: str | None = None,
    row_security: bool = False,
) -> ChatStore:
    return open_store(
        options.url,
        blobs=blobs,
        migrate=migrate,
        schema=options.schema,
        prefix=options.prefix,
        pgbouncer=options.pgbouncer,
        row_security=row_security,
    )


class _Progress:
    """One line that counts, on a terminal; elsewhere a plain line a minute. Both on stderr."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._pause = 0.1 if self._terminal else 60.0
        self._next = time.monotonic() + self._pause

    def show(self, text: str) -> None:
        """Show how far it has come, unless it was shown a moment ago."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._pause
        _clear_line()
        print(text, end="" if self._terminal else "\n", file=sys.stderr, flush=True)

    def print(self, text: str) -> None:
        """Print a line of the result, in place of the line that counts."""
        _clear_line()
        print(text, flush=True)


def _clear_line() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _sweep(options: argparse.Namespace) -> int:
    try:
        grace = timedelta(hours=options.grace_hours)
    except (OverflowError, ValueError):
        raise ConfigurationError("--grace-hours: must be a number of hours") from None
    progress = _Progress()
    swept = asyncio.run(_swept(_with_blobs(options), grace, progress))
    progress.print(json.dumps(asdict(swept)) if options.json else _sum(swept))
    return FOUND if swept.failed_deletions else 0


async def _swept(store: ChatStore, grace: timedelta, progress: _Progress) -> Swept:
    def show(swept: Swept) -> None:
        deleted = swept.deleted_blobs + swept.orphans
        progress.show(f"{deleted:,} blobs deleted, {swept.failed_deletions:,} could not be")

    async with store:
        return await store.admin().sweep(grace=grace, progress=show)


def _sum(swept: Swept) -> str:
    done = (
        f"{swept.expired_uploads} uploads had run out, {swept.unfinished_uploads} were left by killed processes,"
        f" {swept.deleted_blobs} blobs and {swept.orphans} orphans deleted,"
        f" {swept.failed_deletions} deletions failed and are tried again"
    )
    return done if swept.last_failure is None else f"{done}; the last one: {swept.last_failure}"


def _verify(options: argparse.Namespace) -> int:
    counts = asyncio.run(_verified(_with_blobs(options), _Progress(), options.json))
    return FOUND if counts["missing"] or counts["damaged"] else 0


async def _verified(store: ChatStore, progress: _Progress, as_json: bool) -> Counter[str]:
    counts = Counter(missing=0, damaged=0, orphan=0, files=0, bytes=0)

    def show(files: int, size: int) -> None:
        counts["files"], counts["bytes"] = files, size
        progress.show(f"{files:,} files, {size / 1e6:,.1f} MB read")

    async with store:
        async for finding in store.admin().verify(progress=show):
            counts[finding.kind] += 1
            progress.print(json.dumps(asdict(finding)) if as_json else _line(finding))
    total = "{missing} missing, {damaged} damaged, {orphan} orphans in {files} files".format(**counts)
    progress.print(json.dumps(counts) if as_json else total)
    return counts


def _line(finding: Finding) -> str:
    if finding.owner is None:
        return f"{finding.kind} {finding.key}"
    owner = finding.owner
    whose = f"tenant={owner.tenant!r} user={owner.user!r}"
    return f"{finding.kind} {finding.key} attachment={finding.attachment_id!r} {whose}"


def _migrate(options: argparse.Namespace) -> int:
    if not options.url:
        raise ConfigurationError("say which database: chatstore migrate URL, or set CHATSTORE_URL")
    if options.role is not None and not options.row_security:
        raise ConfigurationError("--role: goes with --row-security, which says what the role needs")
    if options.check and options.row_security:
        raise ConfigurationError("--check and --row-security: choose one; the first changes nothing")
    how: Literal["check", "auto"] = "check" if options.check else "auto"
    store = _opened(options, migrate=how)
    if options.sql:
        from chatstore.sql.row_security import row_security_sql
        from chatstore.sql.schema import migration_sql

        if not hasattr(store.store.wrapped, "database"):
            raise ConfigurationError("url: a store without a database has no tables")

        print(migration_sql(options.url, prefix=options.prefix, schema=options.schema))
        if options.row_security:
            print(row_security_sql(options.role, prefix=options.prefix, schema=options.schema))
        return 0
    asyncio.run(_migrated(store, options))
    print("the tables are up to date" + (", and have row security" if options.row_security else ""))
    return 0


async def _migrated(store: ChatStore, options: argparse.Namespace) -> None:
    database = getattr(store.store, "database", None)
    if options.row_security and (database is None or not database.has_row_security):
        raise ConfigurationError("--row-security: this store has none; PostgreSQL has")
    if database is None:
        async with store:
            return
    try:
        await database.migrate(row_security=options.row_security, role=options.role)
    finally:
        await store.aclose()
