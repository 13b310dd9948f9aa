"""Statements live in .sql files beside the module that runs them, with :named parameters."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, TypeAlias

import asyncpg
import polars as pl
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

Literal: TypeAlias = int | date | list[int] | pl.Series

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)\b")


@dataclass(frozen=True)
class Statement:
    """One SQL statement whose :named parameters are given by keyword.

    sent: how many of them, and of COPYs, this process has sent; benchmarks look at it.
    """

    sent: ClassVar[int] = 0

    text: str
    parameters: tuple[str, ...]
    positional: str

    @classmethod
    def parse(cls, text: str) -> "Statement":
        """Reads a statement; a parameter may stand in it more than once."""
        names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
        return cls(text, names, _PARAMETER.sub(lambda m: f"${names.index(m[1]) + 1}", text))

    async def execute(self, connection: Connection, **values: Any) -> int:
        """Runs it; returns the number of rows it inserted, updated, deleted or selected."""
        tag = await connection.execute(self.positional, *self._arguments(values))
        return int(tag.rsplit(" ", 1)[-1]) if tag[-1].isdigit() else 0

    async def fetch(self, connection: Connection, **values: Any) -> list[asyncpg.Record]:
        """Runs it; returns all rows (control path only: a Python object a row)."""
        return await connection.fetch(self.positional, *self._arguments(values))

    async def row(self, connection: Connection, **values: Any) -> asyncpg.Record | None:
        """Runs it; returns the first row."""
        return await connection.fetchrow(self.positional, *self._arguments(values))

    async def one(self, connection: Connection, **values: Any) -> asyncpg.Record:
        """Run it and return its first row; no row is an internal error that names the statement."""
        found = await self.row(connection, **values)
        if found is None:
            raise RuntimeError(f"no row from the statement: {self.text}")
        return found

    async def value(self, connection: Connection, **values: Any) -> Any:
        """Runs it; returns the first column of the first row."""
        return await connection.fetchval(self.positional, *self._arguments(values))

    def rendered(self, **values: Literal) -> str:
        """The text with the values written in, for a COPY, which takes no parameters: integers, lists and columns of them,
        dates."""
        self._arguments(values)
        return _PARAMETER.sub(lambda m: _literal(values[m[1]]), self.text)

    def _arguments(self, values: dict[str, Any]) -> list[Any]:
        Statement.sent += 1
        if values.keys() != set(self.parameters):
            raise TypeError(
                f"statement takes {sorted(self.parameters)}, was given {sorted(values)}"
            )
        return [values[name] for name in self.parameters]


def _literal(value: Any) -> str:
    match value:
        case int():
            return str(int(value))
        case date():
            return f"DATE '{value.isoformat()}'"
        case list() if all(isinstance(each, int) for each in value):
            return f"'{{{','.join(str(int(each)) for each in value)}}}'"
        case pl.Series() if value.dtype.is_integer() and not value.null_count():
            return f"'{{{value.cast(pl.String).str.join(',').item() or ''}}}'"
    raise TypeError(
        f"only int, list and column of int, and date can be written into a statement, not {value!r}"
    )


def statements(package: str) -> Callable[[str], Statement]:
    """Return the statements of one room: a function from the name of a file `name`.sql in that package to its statement."""

    @cache
    def statement(name: str) -> Statement:
        return Statement.parse(files(package).joinpath(f"{name}.sql").read_text())

    return statement
