"""Checks of all rows together and against stored data, in the loading transaction."""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

import polars as pl

from revalue.engine.correct.inputs.kinds import KEYS, Kind
from revalue.engine.correct.inputs.problems import (
    SHOWN_ROWS,
    InputProblem,
    ProblemKind,
    RejectedInputError,
)
from revalue.engine.correct.inputs.rules import repeated
from revalue.engine.correct.inputs.sorted_rows import SortedRows
from revalue.engine.correct.inputs.sources import Source
from revalue.engine.correct.loads.batches import Batches
from revalue.engine.correct.loads.load_progress import Progress
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)


def with_repeated_keys(kind: Kind, rows: SortedRows) -> Iterator[pl.DataFrame]:
    """Yield rows with the column repeated_key: the key of a row that has one before."""
    key = pl.concat_str(pl.col(KEYS[kind]).cast(pl.String), separator=" ")
    repeated_key = pl.when("is_repeated").then(key).cast(pl.String).alias("repeated_key")
    for frame in rows.frames():
        yield frame.select(pl.exclude("is_repeated"), repeated_key)


async def check(
    connection: Connection,
    kind: Kind,
    given: Source,
    batches: Batches,
    must_exist: bool,
    progress: Progress,
) -> None:
    """Check the rows of `incoming`.

    Raises:
        RejectedInputError: rows break rules.
    """
    progress.next("checking", batches.rows)
    batches.problems.add(await _repeated_keys(connection, kind))
    first_line, unit = given.numbering()
    problems = batches.problems.listed(first_line)
    problems += await _stored_data_problems(connection, kind, first_line, must_exist)
    if problems:
        raise RejectedInputError(given.place, batches.rows, unit, problems)


async def _repeated_keys(connection: Connection, kind: Kind) -> list[InputProblem]:
    """Return the rule that no key is given twice, with the rows whose key has a row before."""
    rows = await sql("repeated_keys").fetch(connection, most=SHOWN_ROWS)
    count = rows[0]["count"] if rows else 0
    shown = tuple((row["row_no"], row["repeated_key"]) for row in rows)
    return [InputProblem(ProblemKind.DUPLICATE_KEY, KEYS[kind][0], count, repeated(kind), shown)]


async def _stored_data_problems(
    connection: Connection, kind: Kind, first_line: int, must_exist: bool
) -> list[InputProblem]:
    """Return the rules about stored data that the input breaks, seen by the loading transaction."""
    if kind is Kind.BUSINESS_DATES:
        return []
    existing = {"must_exist": must_exist} if kind in (Kind.PRICES, Kind.FX_RATES) else {}
    rows = await sql(f"check_{kind.value}").fetch(connection, **existing)
    return [
        InputProblem(
            kind=ProblemKind(found[0]["kind"]),
            column=column,
            count=found[0]["count"],
            hint=found[0]["hint"],
            rows=tuple((row["row_no"] + first_line, row["value"]) for row in found),
        )
        for (_, column), found in (
            (rule, list(rows_of_rule))
            for rule, rows_of_rule in groupby(rows, key=itemgetter("rule", "column_name"))
        )
    ]
