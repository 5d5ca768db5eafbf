"""python -m chatstore.testing.faults: torment a database of its own, and say what became of the writes."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

from chatstore.errors import ChatStoreError
from chatstore.testing.faults.torture import torture
from chatstore.testing.servers import ServerUnavailable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the report, and return 0 where the promises hold, 1 where not, 2 where it could not run."""
    given = vars(_parser().parse_args(arguments))
    as_json = given.pop("json")
    try:
        report = asyncio.run(torture(**given))
    except (ChatStoreError, ServerUnavailable, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    lines = [json.dumps(report.to_dict())] if as_json else report.lines()
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if report.holds else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chatstore.testing.faults", description=torture.__doc__)
    parser.add_argument(
        "url", nargs="?", help="postgresql://server or sqlite:///new-file; without it a server is started"
    )
    parser.add_argument("--kills", type=_count, default=40, help="faults to make (40)")
    parser.add_argument("--writers", type=_count, default=64, help="tasks that write, in two processes (64)")
    parser.add_argument("--appends", type=_count, default=0, help="go on until so many were acknowledged (0)")
    parser.add_argument("--seconds", type=float, default=600.0, help="end after this time in any case (600)")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
