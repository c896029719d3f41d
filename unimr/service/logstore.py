"""The database of the query log: SQLite in a file, or Postgres by URL. The only file that knows SQLAlchemy.

Both have the same table. A password need not stand in the URL: the driver of Postgres reads the variable `PGPASSWORD`
and the file `~/.pgpass`, and its settings for TLS may follow the URL, as `?sslmode=require`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Double,
    Engine,
    Index,
    Integer,
    MetaData,
    QueuePool,
    Table,
    Text,
    create_engine,
    delete,
    event,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from unimr.errors import UnimrError

SECONDS_TO_CONNECT = 5
ROWS_AT_A_TIME = 1_000
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON")  # what the retention deletes is overwritten
_TEXTS = ("kind", "text", "text_hash", "lang", "intent", "model", "index_version", "session")
_NUMBERS = ("asked_at", "confidence", "similarity", "margin", "latency_ms")
_LISTS = ("slots", "filters", "results", "scores")
_list = JSON().with_variant(JSONB(), "postgresql")
_queries = Table(
    "queries",
    MetaData(),
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    *(Column(name, Double()) for name in _NUMBERS),
    *(Column(name, Text()) for name in _TEXTS),
    *(Column(name, _list) for name in _LISTS),
)
_by_time = Index("queries_asked_at", _queries.c.asked_at)


class LogStore:
    """The open table; `place` is the file of SQLite or the URL of Postgres.

    Raises:
        UnimrError: it cannot be opened.
    """

    def __init__(self, place: Path | str) -> None:
        self._engine = _sqlite(place) if isinstance(place, Path) else _postgres(place)
        self.name = str(place) if isinstance(place, Path) else self._engine.url.render_as_string(hide_password=True)
        try:
            if isinstance(place, Path):
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch(mode=0o600)
            with self._engine.begin() as connection:
                connection.execute(CreateTable(_queries, if_not_exists=True))
                connection.execute(CreateIndex(_by_time, if_not_exists=True))
        except (SQLAlchemyError, OSError) as error:
            raise UnimrError(
                f"The query log {self.name} cannot be opened ({_cause(error)}). Move the file away, or name another "
                "one, or a database that answers, in serve.query_log of params.yaml."
            ) from error

    def write(self, rows: Sequence[dict[str, Any]], oldest: float) -> None:
        """Add rows, and delete those asked before `oldest` (seconds since 1970), in one transaction.

        Raises:
            UnimrError: the database fails; nothing was written.
        """
        try:
            with self._engine.begin() as connection:
                if rows:
                    connection.execute(insert(_queries), [_storable(row) for row in rows])
                connection.execute(delete(_queries).where(_queries.c.asked_at < oldest))
        except SQLAlchemyError as error:
            raise UnimrError(f"The query log {self.name} cannot be written ({_cause(error)}).") from error

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def read_log(place: Path | str, since: float = 0.0) -> Iterator[dict[str, Any]]:
    """The entries of a log from a moment on, oldest first; see `querylog.place_of`.

    Raises:
        UnimrError: there is no log, or it cannot be read.
    """
    if isinstance(place, Path) and not place.exists():
        raise UnimrError(f"There is no query log {place}. `unimr serve` writes one as queries come.")
    engine = _sqlite(place, read_only=True) if isinstance(place, Path) else _postgres(place)
    wanted = select(_queries).where(_queries.c.asked_at >= since).order_by(_queries.c.id)
    try:
        with engine.connect() as connection:
            found = connection.execution_options(yield_per=ROWS_AT_A_TIME).execute(wanted)
            for row in found.mappings():
                yield dict(row)
    except (SQLAlchemyError, ValueError) as error:
        name = place if isinstance(place, Path) else engine.url.render_as_string(hide_password=True)
        what_next = " Move it away: `unimr serve` begins a new one." if isinstance(place, Path) else ""
        raise UnimrError(f"The query log {name} cannot be read ({_cause(error)}).{what_next}") from error
    finally:
        engine.dispose()


def _sqlite(path: Path, read_only: bool = False) -> Engine:
    address = path.absolute().as_uri() + ("?mode=ro" if read_only else "")

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, timeout=SECONDS_TO_CONNECT, uri=True, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, json_serializer=_to_json)
    if not read_only:
        event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection: sqlite3.Connection, _: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _postgres(address: str) -> Engine:
    try:
        url = make_url(address)
        if url.drivername not in ("postgresql", "postgres"):
            raise UnimrError(
                f"serve.query_log.url begins with {url.drivername!r}: it is of the form "
                "postgresql://user@host:5432/database, or empty for SQLite in serve.query_log.file."
            )
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={"connect_timeout": SECONDS_TO_CONNECT},
            pool_pre_ping=True,  # a server that was started again costs no entry
            json_serializer=_to_json,
        )
    except (ArgumentError, NoSuchModuleError) as error:
        raise UnimrError(
            "serve.query_log.url is no URL: it is of the form postgresql://user@host:5432/database, or empty."
        ) from error
    except ModuleNotFoundError as error:
        raise UnimrError("A query log in Postgres needs its driver: pip install 'unimr[postgres]'.") from error


_to_json = partial(json.dumps, ensure_ascii=False)


def _storable(value: Any) -> Any:
    """The value without the character NUL, which a text of Postgres cannot hold."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, dict):
        return {name: _storable(each) for name, each in value.items()}
    return [_storable(each) for each in value] if isinstance(value, list) else value


def _cause(error: Exception) -> str:
    """What the database said, on one line and without the statement."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
