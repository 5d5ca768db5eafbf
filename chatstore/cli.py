"""The command line: ``chatstore migrate``."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Literal

from chatstore.errors import ChatStoreError, ConfigurationError
from chatstore.opening import open_store


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
    migrate.add_argument("--schema", help="the PostgreSQL schema of the tables")
    migrate.add_argument("--prefix", default="chatstore_", help="what the tables' names begin with")
    migrate.set_defaults(run=_migrate)
    return parser


def _migrate(options: argparse.Namespace) -> str:
    if not options.url:
        raise ConfigurationError("say which database: chatstore migrate URL, or set CHATSTORE_URL")
    if options.sql:
        from chatstore.sql.schema import migration_sql

        return migration_sql(options.url, prefix=options.prefix, schema=options.schema)
    asyncio.run(_open(options))
    return "the tables are up to date"


async def _open(options: argparse.Namespace) -> None:
    how: Literal["check", "auto"] = "check" if options.check else "auto"
    async with open_store(options.url, migrate=how, schema=options.schema, prefix=options.prefix):
        pass
