"""Migrate a database as ``chatstore migrate`` does, and say so before every statement, for a test that kills it."""

from __future__ import annotations

import os
import sys
from typing import Any

from sqlalchemy import Engine, event

from chatstore.cli import main


@event.listens_for(Engine, "before_cursor_execute")
def say(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
    """Tell that a statement of the migration comes next, once the schema is being changed."""
    if statement.lstrip().startswith(("CREATE", "ALTER", "INSERT", "UPDATE")):
        os.write(sys.stdout.fileno(), b"statement\n")


if __name__ == "__main__":
    sys.exit(main(["migrate", sys.argv[1]]))
