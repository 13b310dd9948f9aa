"""Correct the quantities of a security for a split: every holder has them from its date on."""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from revalue.engine.correct import loads, upserts
from revalue.engine.correct.incoming import Incoming
from revalue.engine.correct.ingest import COLUMNS, Kind
from revalue.engine.errors import CorrectionRefusedError, InvalidInputError, NotFoundError
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_SHOWN_ROWS = 5
_SHOWN_QUANTITIES = 20

_RATIO = re.compile(r"([1-9][0-9]{0,8}):([1-9][0-9]{0,8})")


@dataclass(frozen=True)
class SplitQuantity:
    """The quantity of one position record before and after a split."""

    portfolio_id: str
    position_date: date
    quantity: Decimal
    new_quantity: Decimal


@dataclass(frozen=True)
class SplitCorrection:
    """A split that was made.

    Attributes:
        security: the security.
        date: from when on the quantities are others.
        ratio: new for old, as `4:1`.
        holders: positions whose quantity is another on that date or later.
        records: position records that were changed or added.
        quantities: the first of these, by portfolio and date.
        trigger_ids: the triggers that record the correction.
        positions: how many positions were corrected: those that are scheduled on these dates.
        load_id: under which number it is recorded, so that it can be taken back.
    """

    security: str
    date: date
    ratio: str
    holders: int
    records: int
    quantities: tuple[SplitQuantity, ...]
    trigger_ids: tuple[int, ...]
    positions: int
    load_id: int | None


def parse_ratio(text: str) -> tuple[int, int]:
    """Read a ratio: `4:1` is four new ones for one old one, `1:10` is a reverse split.

    Raises:
        InvalidInputError: it is none.
    """
    found = _RATIO.fullmatch(text)
    if found is None or found[1] == found[2]:
        raise InvalidInputError(
            f"{text!r} is no ratio of a split: write new for old, as 4:1, or 1:10 of a reverse "
            "split; both are whole numbers of at most nine digits, and they differ"
        )
    return int(found[1]), int(found[2])


async def split(
    database: Connections, security: str, day: date, ratio: str, *, again: bool = False
) -> SplitCorrection:
    """Multiply the quantities that are held of a security from a date on; their cost stays.

    All position records from that date on have another quantity. A position whose record began
    before gets a record on the date. Prices are not touched.

    Args:
        database: the database.
        security: the security.
        day: the first date on which the new quantities are held.
        ratio: new for old, as `4:1`.
        again: make it though one of this security and date was made already.

    Raises:
        NotFoundError: there is no such security, or nobody holds it on the date or later.
        InvalidInputError: the ratio is none, or a new quantity does not come out exactly at 10
            places, or does not fit.
        CorrectionRefusedError: a split of this security and date was made already.
    """
    numerator, denominator = parse_ratio(ratio)
    words = f"split of {security} on {day} "
    async with database.transaction() as connection:
        if not await sql("security_exists").value(connection, security=security):
            raise NotFoundError(f"there is no security {security!r}")
        await sql("lock_split_positions").value(connection, security=security)
        # Whoever has made the same split meanwhile has held these locks.
        before = await sql("split_made").value(connection, words=words)
        if before is not None and not again:
            raise CorrectionRefusedError(
                f"a split of {security} on {day} was made already, as load {before}: `revalue loads"
                f" revert {before}` takes it back. To make another one on this date, pass --again "
                "(in Python again=True)"
            )
        await loads.keep_replaced(connection)
        await sql("split_records").execute(
            connection,
            security=security,
            day=day,
            numerator=Decimal(numerator),
            denominator=Decimal(denominator),
        )
        count = await sql("count_split").one(connection)
        if not count["records"]:
            raise NotFoundError(f"nobody holds {security!r} on {day} or later")
        if count["misfits"]:
            raise await _misfits(connection, security, ratio, count["misfits"])
        quantities = await sql("quantities_of_split").fetch(connection, most=_SHOWN_QUANTITIES)
        async with Incoming(connection, COLUMNS[Kind.POSITIONS]) as incoming:
            await sql("incoming_of_split").execute(connection)
            await incoming.analyze()
            counts = await upserts.write_histories(connection, replace=False)
        await connection.execute("DROP TABLE split_records")
        load_id = await loads.record(
            connection, Kind.POSITIONS.value, words + ratio, count["records"], counts
        )
    trigger = counts["trigger_id"]
    return SplitCorrection(
        security=security,
        date=day,
        ratio=ratio,
        holders=count["positions"],
        records=count["records"],
        quantities=tuple(SplitQuantity(*row) for row in quantities),
        trigger_ids=() if trigger is None else (trigger,),
        positions=counts["positions_corrected"],
        load_id=load_id,
    )


async def _misfits(
    connection: Connection, security: str, ratio: str, count: int
) -> InvalidInputError:
    """Name the positions whose new quantity cannot be stored as it is."""
    rows = await sql("misfits_of_split").fetch(connection, most=_SHOWN_ROWS)
    shown = ", ".join(
        f"{row['portfolio_id']} on {row['position_date']} ({row['quantity'].normalize():f})"
        for row in rows
    )
    return InvalidInputError(
        f"a split {ratio} of {security} does not give a quantity with at most 18 digits before and "
        f"10 after the point in {count:,} records, nothing is changed: {shown}"
        + (f" and {count - len(rows):,} more" if count > len(rows) else "")
        + ". What a holder gets for a fraction is for you to say: load the new quantities of this "
        "security as a file of positions"
    )
