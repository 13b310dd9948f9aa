"""`revalue verify`: compare what readers see with the reference valuation."""

import random
from dataclasses import dataclass
from typing import Annotated

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import counted, out, print_json
from revalue.console.cli.progress import OnRows, verify_line
from revalue.console.cli.stop_signals import told_when_stopped
from revalue.console.reference.reference import Comparison, compare, read_book
from revalue.engine.errors import NotFoundError, RevalueError
from revalue.engine.postgres.database import Database
from revalue.engine.read.book_data import (
    read_position_keys,
    read_positions,
    read_unfinished,
    read_unusable,
)

_SAMPLE_BATCH, _BATCH = 20, 1_000
_MAX_EXAMPLES = 20


@dataclass(frozen=True)
class Verified:
    """What a comparison with the reference valuation found.

    Attributes:
        positions: positions compared.
        rows: position-days compared.
        disagreements: position-days that differ, are missing, or should not be there.
        in_progress: position-days that are not compared: they are due, or a correction of their
            position is in progress.
        positions_in_progress: positions that have such.
        waiting: position-days that have no value because data is missing.
        examples: the first disagreements, as sentences.
        unusable: stored rows that no rule can use, for example a price of the year 20000.
    """

    positions: int
    rows: int
    disagreements: int
    in_progress: int
    positions_in_progress: int
    waiting: int
    examples: tuple[str, ...]
    unusable: tuple[str, ...] = ()


def verify(
    ctx: typer.Context,
    rows: Annotated[
        int,
        typer.Option(min=1, help="Smallest number of rows, of positions chosen at random."),
    ] = 100_000,
    seed: Annotated[int, typer.Option(help="Seed of the random choice.")] = 0,
    every: Annotated[bool, typer.Option("--all", help="Every row instead.")] = False,
    as_json: Json = False,
) -> None:
    """Recompute stored rows with the reference valuation, an independent implementation.

    It computes row by row in plain decimals. What is due, or of a position whose correction is in
    progress, is counted and not compared. Exit code 1: a stored number differs in any digit.
    """

    counts = Comparison()

    async def run(database: Database) -> Verified:
        with verify_line(show=not as_json) as on_rows:
            return await verify_rows(
                database,
                rows=None if every else rows,
                seed=seed,
                compared=counts,
                on_rows=on_rows,
            )

    with told_when_stopped(lambda: _so_far(counts)):
        found = CliContext.of(ctx).run(run)
    if as_json:
        print_json(found)
    else:
        out.print(describe(found))
        for row in found.unusable:
            out.print(f"not used, because no rule can use it: {row}")
    require_agreement(found)


def _so_far(compared: Comparison) -> str:
    """Say what a comparison has found that was stopped."""
    return (
        f"{counted(compared.rows_compared, 'row')} were recomputed by then: "
        f"{counted(_disagreements(compared), 'disagreement')}. The others were not looked at"
    )


def _disagreements(compared: Comparison) -> int:
    return compared.disagreements + compared.missing + compared.extra


def describe(found: Verified) -> str:
    """Say in one line what was compared."""
    compared = (
        f"{counted(found.rows, 'row')} of {counted(found.positions, 'position')} recomputed one by "
        f"one in plain decimals: {counted(found.disagreements, 'disagreement')}"
    )
    in_progress = (
        f"{counted(found.in_progress, 'position-day')} of "
        f"{counted(found.positions_in_progress, 'position')} in progress, not compared"
    )
    waiting = f"{counted(found.waiting, 'position-day')} without a value, because data is missing"
    parts = (compared, in_progress if found.in_progress else "", waiting if found.waiting else "")
    return "; ".join(part for part in parts if part)


def require_agreement(found: Verified) -> None:
    """Raise RevalueError, with the first disagreements, if there are any."""
    if found.disagreements:
        raise RevalueError("stored rows disagree with the data:\n" + "\n".join(found.examples))


async def verify_rows(
    database: Database,
    *,
    rows: int | None,
    seed: int,
    compared: Comparison | None = None,
    on_rows: OnRows | None = None,
) -> Verified:
    """Compare all positions, or positions chosen at random, with the reference valuation.

    Everything is read in one transaction, so that the engine may work at the same time. Prices and
    records are read a few positions at a time.

    Args:
        database: the database to verify.
        rows: positions are added until at least this many rows are compared; None: all positions.
        seed: of the random choice.
        compared: counts along, for whoever stops it; it is empty.
        on_rows: called with the number of rows that are compared, and which part of all that is.

    Raises:
        NotFoundError: no positions are loaded.
    """
    compared = Comparison() if compared is None else compared
    positions_done = 0
    examples: list[str] = []
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        positions = await read_position_keys(connection)
        if not positions:
            raise NotFoundError("there is nothing to verify: no positions are loaded")
        unusable = await read_unusable(connection, _MAX_EXAMPLES)
        unfinished = await read_unfinished(connection)
        market = await read_book(connection, positions=())
        size, of_all = _BATCH, len(positions)
        if rows is not None:
            random.Random(seed).shuffle(positions)
            size = _SAMPLE_BATCH
        while positions and (rows is None or compared.rows_compared < rows):
            batch, positions = positions[:size], positions[size:]
            book = await read_positions(connection, market, batch)
            found = await compare(connection, book, positions=batch, unfinished=unfinished)
            compared.add(found)
            positions_done += sum(
                1
                for each in batch
                if each not in unfinished or not unfinished[each].is_reprocessing
            )
            examples += found.examples
            if on_rows is not None:
                part = 1 - len(positions) / of_all
                if rows is not None:
                    part = max(part, min(1.0, compared.rows_compared / rows))
                on_rows(compared.rows_compared, part)
    return Verified(
        positions=positions_done,
        rows=compared.rows_compared,
        disagreements=_disagreements(compared),
        in_progress=compared.in_progress.total(),
        positions_in_progress=len(compared.in_progress),
        waiting=compared.hole_days,
        examples=tuple(examples[:_MAX_EXAMPLES]),
        unusable=tuple(unusable),
    )
