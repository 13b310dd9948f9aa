"""Statements live in .sql files next to the module that runs them, with :named parameters."""

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

from revalue.engine.errors import IncompleteInstallationError

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

Rows: TypeAlias = list[dict[str, Any]]
"""Rows of a statement, by column: for answers of bounded size, as each is a Python object."""

Literal: TypeAlias = int | date | list[int] | pl.Series

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)\b")
_SHOWN_CHARACTERS = 80

_names: dict[str, str] = {}  # of the statements that were read, by the text that is sent


@dataclass(frozen=True)
class Statement:
    """One SQL statement whose :named parameters are given by keyword.

    sent: number of statements and COPYs that this process has sent; benchmarks read it.
    """

    sent: ClassVar[int] = 0

    text: str
    parameters: tuple[str, ...]
    positional: str
    name: str = ""

    @classmethod
    def parse(cls, text: str, name: str = "") -> "Statement":
        """Read a statement. A parameter may occur more than once; error messages say `name`."""
        names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
        positional = _PARAMETER.sub(lambda m: f"${names.index(m[1]) + 1}", text)
        return cls(text, names, positional, name)

    async def execute(self, connection: Connection, **values: Any) -> int:
        """Run the statement; return the number of rows inserted, updated, deleted or selected."""
        tag = await connection.execute(self.positional, *self._arguments(values))
        return int(tag.rsplit(" ", 1)[-1]) if tag[-1].isdigit() else 0

    async def fetch(self, connection: Connection, **values: Any) -> list[asyncpg.Record]:
        """Run the statement; return all rows. Each is a Python object, so not for large results."""
        return await connection.fetch(self.positional, *self._arguments(values))

    async def row(self, connection: Connection, **values: Any) -> asyncpg.Record | None:
        """Run the statement; return the first row; None: there is no row."""
        return await connection.fetchrow(self.positional, *self._arguments(values))

    async def one(self, connection: Connection, **values: Any) -> asyncpg.Record:
        """Run a statement that always has a row; return the first one.

        Raises:
            LookupError: it returned no row, which is a fault of the program or of the schema.
        """
        row = await self.row(connection, **values)
        if row is None:
            raise LookupError(f"the statement {self.name or self.text} returned no row")
        return row

    async def value(self, connection: Connection, **values: Any) -> Any:
        """Run the statement; return the first column of the first row; None: there is no row."""
        return await connection.fetchval(self.positional, *self._arguments(values))

    def rendered(self, **values: Literal) -> str:
        """Return the text with the values written in: a COPY or an ADBC query has no parameters.

        Integers, dates, and lists or columns of integers can be written in.
        """
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
    """Return the statements of one package: a function from `name` to its file `name`.sql."""

    @cache
    def statement(name: str) -> Statement:
        file = files(package).joinpath(f"{name}.sql")
        try:
            text = file.read_text()
        except OSError as error:
            raise IncompleteInstallationError(
                f"the file {file} of the package revalue cannot be read: {error}. "
                "Install the package again"
            ) from error
        parsed = Statement.parse(text, f"{package}/{name}.sql")
        _names[parsed.positional] = parsed.name
        return parsed

    return statement


def name_of(query: str | None) -> str | None:
    """Return the name of a statement by its text, for messages; if it has none, its beginning."""
    if query is None:
        return None
    return _names.get(query) or " ".join(query.split())[:_SHOWN_CHARACTERS]
