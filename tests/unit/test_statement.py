"""Statements take named parameters, and only those."""

from datetime import date
from unittest.mock import AsyncMock

import polars as pl
import pytest

from revalue.engine.postgres.statement import Statement


def test_a_repeated_name_is_one_parameter_and_a_cast_is_not_one() -> None:
    statement = Statement.parse("SELECT :a::int, x::text, :b_c WHERE y = :a")
    assert statement.parameters == ("a", "b_c")
    assert statement.positional == "SELECT $1::int, x::text, $2 WHERE y = $1"


def test_only_integers_and_dates_are_written_into_a_text() -> None:
    statement = Statement.parse("SELECT :n, :d")
    assert statement.rendered(n=5, d=date(2024, 1, 2)) == "SELECT 5, DATE '2024-01-02'"
    assert statement.rendered(n=[5, 6], d=date(2024, 1, 2)) == "SELECT '{5,6}', DATE '2024-01-02'"
    assert (
        statement.rendered(n=pl.Series([5, 6]), d=date(2024, 1, 2))
        == "SELECT '{5,6}', DATE '2024-01-02'"
    )
    assert (
        statement.rendered(n=pl.Series([], dtype=pl.Int32), d=date(2024, 1, 2))
        == "SELECT '{}', DATE '2024-01-02'"
    )
    for column in (pl.Series([5, None]), pl.Series(["5"])):
        with pytest.raises(TypeError, match="column of int"):
            statement.rendered(n=column, d=date(2024, 1, 2))
    with pytest.raises(TypeError, match="only int, list"):
        statement.rendered(n="5; DROP TABLE x", d=date(2024, 1, 2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes"):
        statement.rendered(n=5)


async def test_one_returns_the_row_or_names_the_statement_that_has_none() -> None:
    statement = Statement.parse("SELECT 1 WHERE :a", "room/name.sql")
    connection = AsyncMock()
    connection.fetchrow.return_value = (1,)
    assert await statement.one(connection, a=True) == (1,)
    connection.fetchrow.return_value = None
    with pytest.raises(LookupError, match=r"room/name\.sql returned no row"):
        await statement.one(connection, a=False)
