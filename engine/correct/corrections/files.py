"""Correct every price, rate or position record of a file, or none of them."""

from dataclasses import dataclass

from revalue.engine.correct.inputs.kinds import COLUMNS, Kind
from revalue.engine.correct.inputs.sources import Input, read
from revalue.engine.correct.loads.load import load
from revalue.engine.correct.reach import reach
from revalue.engine.errors import InvalidInputError
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.open_transaction import OpenTransaction


@dataclass(frozen=True)
class FileCorrection:
    """The corrections of one file, made in one transaction.

    Attributes:
        kind: prices, fx_rates or positions.
        rows: rows of the file.
        changed: how many prices or rates were replaced, or position records inserted or changed.
        unchanged: rows that are stored as they are given.
        trigger_ids: the triggers that record the corrections.
        positions: how many positions they affect at most; of a file of positions: how many
            positions were corrected.
        warnings: what is strange about the file, in words: dates in the future.
    """

    kind: str
    rows: int
    changed: int
    unchanged: int
    trigger_ids: tuple[int, ...]
    positions: int
    warnings: tuple[str, ...] = ()


async def correct_file(database: Connections, source: Input) -> FileCorrection:
    """Correct every price, rate or position record of a file, or none of them.

    The file has the columns of a file that loads prices, fx_rates or positions. A price or rate
    that is not stored cannot be corrected; later records of a position stay.

    Raises:
        InvalidInputError: the input has other columns, or rows that break a rule (.problems).
        CorrectionRefusedError, TransientError: as `load`.
    """
    given = read(source)
    kind = _kind_of(given.columns)
    async with database.transaction() as connection:
        loaded = await load(OpenTransaction(connection), kind, given, must_exist=True)
        triggers: tuple[int, ...]
        if kind is Kind.POSITIONS:
            reached = loaded.positions_corrected
            triggers = () if loaded.trigger_id is None else (loaded.trigger_id,)
        else:
            found = await reach(connection)
            reached, triggers = found.positions, found.trigger_ids
    return FileCorrection(
        kind=kind.value,
        rows=loaded.rows,
        changed=loaded.inserted + loaded.changed,
        unchanged=loaded.unchanged,
        trigger_ids=triggers,
        positions=reached,
        warnings=loaded.warnings,
    )


def _kind_of(columns: list[str]) -> Kind:
    correctable = (Kind.PRICES, Kind.FX_RATES, Kind.POSITIONS)
    for kind in correctable:
        if {column.name for column in COLUMNS[kind] if column.required} <= set(columns):
            return kind
    wanted = "; ".join(
        f"{kind.value}: {', '.join(column.name for column in COLUMNS[kind])}"
        for kind in correctable
    )
    raise InvalidInputError(
        f"a file of corrections has the columns of one of these kinds: {wanted}"
    )
