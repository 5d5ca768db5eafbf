"""Make and check the schema: migrations by Alembic, which is imported only when there is something to do."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.schema import CreateSchema

from chatstore.deadlines import Deadlines
from chatstore.errors import SchemaError
from chatstore.sql.dialects import Dialect
from chatstore.sql.engines import make_engine
from chatstore.sql.tables import Tables, make_tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

HEAD = "0004"
"""The revision that this code works with; a test holds it to the newest one in ``migrations/``."""

Migrate = Literal["auto", "check", "off"]

_turn = threading.Lock()

_PACKAGE = Path(__file__).parent.parent
_INSTALLED = _PACKAGE / "migrations"
MIGRATIONS = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "migrations"
"""Inside the installed package, else the checkout's own folder."""


def check_revision(found: str | None, tables: Tables) -> None:
    """Raise ``SchemaError`` unless the schema is at the revision of this code."""
    if found == HEAD:
        return
    command = f"chatstore migrate URL{_place(tables)}"
    if found is None:
        raise SchemaError(f"the tables are missing; run `{command}`")
    if is_newer(found):
        raise SchemaError(newer(found))
    raise SchemaError(f"the tables are at revision {found}, older than the {HEAD} of this code; run `{command}`")


def newer(found: str | None) -> str:
    """Return what is said of a revision that this code does not know yet."""
    return f"the tables are at revision {found}, newer than the {HEAD} of this code; install a newer chatstore-py"


def _place(tables: Tables) -> str:
    schema = f" --schema {tables.metadata.schema}" if tables.metadata.schema is not None else ""
    return schema if tables.prefix == "chatstore_" else f"{schema} --prefix {tables.prefix}"


def is_newer(found: str | None) -> bool:
    """Return whether a revision is one that this code does not know yet; they are numbered."""
    return found is not None and found > HEAD


async def migrate(engine: AsyncEngine, dialect: Dialect, tables: Tables, deadlines: Deadlines) -> None:
    """Bring the schema to the newest revision; safe when several processes start at once."""
    script = await asyncio.to_thread(_load_script)

    def upgrade(connection: Connection) -> None:
        for sql in dialect.migration_start(deadlines):
            connection.exec_driver_sql(sql)
        schema = tables.metadata.schema
        if schema is not None and not inspect(connection).has_schema(schema):
            connection.execute(CreateSchema(schema))
        _run(script, tables, connection=connection)

    async with _alembic(), engine.connect() as connection:
        try:
            await connection.run_sync(upgrade)
            await connection.commit()
        except BaseException:
            await connection.invalidate()
            raise


@asynccontextmanager
async def _alembic() -> AsyncIterator[None]:
    """Hold Alembic's context, of which a process has one, for all its event loops and threads.

    The DDL awaits the database while the context is in use, and another store's must not enter it meanwhile.
    """
    while not _turn.acquire(blocking=False):  # noqa: ASYNC110  an event belongs to one loop, the context to all
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        _turn.release()


def migration_sql(url: str, *, prefix: str = "chatstore_", schema: str | None = None) -> str:
    """Return the DDL from an empty database to the newest revision, for people who may not run it themselves."""
    engine = make_engine(url)
    text = io.StringIO()
    tables = make_tables(prefix, schema)
    if schema is not None:
        text.write(f"{CreateSchema(schema, if_not_exists=True).compile(dialect=engine.dialect)};\n\n")
    script = _load_script()
    with _turn:
        _run(script, tables, dialect_name=engine.dialect.name, output_buffer=text)
    return text.getvalue()


def configure(context: Any, tables: Tables, **options: Any) -> None:
    """Configure Alembic, by its context object or module, for one store: its tables, version table and schema."""
    context.configure(
        target_metadata=tables.metadata,
        version_table=tables.version,
        version_table_schema=tables.metadata.schema,
        include_schemas=tables.metadata.schema is not None,
        include_name=lambda name, kind, parents: kind != "table" or name in _names(tables),
        prefix=tables.prefix,
        schema_name=tables.metadata.schema,
        **options,
    )


def without_chatstore_tables(
    prefix: str = "chatstore_",
) -> Callable[[str | None, str, Any], bool]:
    """Return an ``include_name`` for a host application's own ``env.py``.

    Its autogenerate compares the host's tables with the database, and would otherwise drop those of chatstore,
    which live beside them.
    """

    def include_name(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or name is None or not name.startswith(prefix)

    return include_name


def _names(tables: Tables) -> set[str]:
    return {table.name for table in tables.metadata.sorted_tables} | {tables.version}


def _load_script() -> tuple[Config, ScriptDirectory]:
    """Import Alembic and read the revisions from disk: not a thing for the event loop's thread."""
    config: Config = import_module("alembic.config").Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    script: ScriptDirectory = import_module("alembic.script").ScriptDirectory.from_config(config)
    script.get_heads()
    return config, script


def _run(loaded: tuple[Config, ScriptDirectory], tables: Tables, **options: Any) -> None:
    """Run the upgrade; the caller holds Alembic's context."""
    config, script = loaded
    environment = import_module("alembic.runtime.environment").EnvironmentContext

    def upgrade(revision: Any, context: Any) -> Any:
        return script._upgrade_revs("head", revision)

    with environment(config, script, fn=upgrade, as_sql="connection" not in options, destination_rev="head") as context:
        configure(context, tables, **options)
        with context.begin_transaction():
            context.run_migrations()
