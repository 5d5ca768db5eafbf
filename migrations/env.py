"""Run the migrations by Alembic's own command line, for those who develop chatstore.

``alembic -x url=sqlite:///dev.db upgrade head``. A store migrates by itself, through ``chatstore.sql.schema``.
"""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection

from chatstore.errors import ConfigurationError
from chatstore.sql.engines import make_engine
from chatstore.sql.schema import configure
from chatstore.sql.tables import make_tables

arguments = context.get_x_argument(as_dictionary=True)
tables = make_tables(arguments.get("prefix", "chatstore_"), arguments.get("schema"))


def run(connection: Connection) -> None:
    configure(context, tables, connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    if "url" not in arguments:
        raise ConfigurationError("say which database: alembic -x url=sqlite:///dev.db upgrade head")
    engine = make_engine(arguments["url"])
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


asyncio.run(main())
