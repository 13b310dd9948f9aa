"""`revalue verify`: compare what readers see with the reference valuation."""

import random
from dataclasses import dataclass
from typing import Annotated

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import counted, out, print_json
from revalue.console.reference.reference import PositionKey, compare, read_book
from revalue.engine.errors import NotFoundError, RevalueError
from revalue.engine.postgres.database import Database

_BATCH = 20
_MAX_EXAMPLES = 20


@dataclass(frozen=True)
class Verified:
    """What a comparison with the reference valuation found.

    Attributes:
        positions: positions compared.
        rows: rows compared.
        disagreements: rows that differ, are missing, or should not be there.
        examples: the first disagreements, as sentences.
    """

    positions: int
    rows: int
    disagreements: int
    examples: tuple[str, ...]


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

    It computes row by row in plain decimals. Exit code 1: a stored number differs in any digit.
    """

    async def run(database: Database) -> Verified:
        return await verify_rows(database, rows=None if every else rows, seed=seed)

    found = CliContext.of(ctx).run(run)
    if as_json:
        print_json(found)
    else:
        out.print(describe(found))
    require_agreement(found)


def describe(found: Verified) -> str:
    """Say in one line what was compared."""
    return (
        f"{counted(found.rows, 'row')} of {counted(found.positions, 'position')} recomputed one by "
        f"one in plain decimals: {counted(found.disagreements, 'disagreement')}"
    )


def require_agreement(found: Verified) -> None:
    """Raise RevalueError, with the first disagreements, if there are any."""
    if found.disagreements:
        raise RevalueError("stored rows disagree with the data:\n" + "\n".join(found.examples))


async def verify_rows(database: Database, *, rows: int | None, seed: int) -> Verified:
    """Compare all positions, or positions chosen at random, with the reference valuation.

    Everything is read in one transaction, so that the engine may work at the same time.

    Args:
        rows: positions are added until at least this many rows are compared; None: all positions.

    Raises:
        NotFoundError: no positions are loaded.
    """
    positions_done = rows_done = disagreements = 0
    examples: list[str] = []
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        book = await read_book(connection)
        positions: list[PositionKey] = sorted(book.records)
        if not positions:
            raise NotFoundError("there is nothing to verify: no positions are loaded")
        random.Random(seed).shuffle(positions)
        while positions and (rows is None or rows_done < rows):
            batch, positions = positions[:_BATCH], positions[_BATCH:]
            found = await compare(connection, book, positions=batch)
            positions_done += len(batch)
            rows_done += found.rows_compared
            disagreements += found.disagreements + found.missing + found.extra
            examples += found.examples
    return Verified(positions_done, rows_done, disagreements, tuple(examples[:_MAX_EXAMPLES]))
