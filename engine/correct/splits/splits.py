"""Correct the quantities of a security for a split: every holder has them from its date on."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from revalue.engine.correct.inputs.future_dates import future_date_warnings
from revalue.engine.correct.inputs.kinds import COLUMNS, Kind
from revalue.engine.correct.inputs.parsing import EARLIEST, LATEST
from revalue.engine.correct.loads import recorded
from revalue.engine.correct.securities import require_security
from revalue.engine.correct.writes import upserts
from revalue.engine.correct.writes.incoming import Incoming
from revalue.engine.errors import CorrectionRefusedError, InvalidInputError, NotFoundError
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_SHOWN_ROWS = 5
_SHOWN_QUANTITIES = 20

_REACH_DAYS = 30
"""Splits that are so near are taken for the same one: an ex-date and a pay date, for example."""

_MAX_MOVE = math.log(1.5)
"""How far a price may move besides what the split does to it, as a logarithm."""

RATIO_PATTERN = "[1-9][0-9]{0,8}:[1-9][0-9]{0,8}"
"""How a ratio is written, as a regular expression."""


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
        begin_later: those of them that begin after that date.
        records: position records that were changed or added.
        quantities: the first of these, by portfolio and date.
        trigger_ids: the triggers that record the correction.
        positions: how many positions were corrected: those that are scheduled on these dates.
        load_id: under which number it is recorded, so that it can be taken back.
        price_warning: what is strange about the prices around that date; None: nothing is.
        warnings: what else is strange, in words: a date in the future.
    """

    security: str
    date: date
    ratio: str
    holders: int
    begin_later: int
    records: int
    quantities: tuple[SplitQuantity, ...]
    trigger_ids: tuple[int, ...]
    positions: int
    load_id: int | None
    price_warning: str | None
    warnings: tuple[str, ...] = ()


def parse_ratio(text: str) -> tuple[int, int]:
    """Read a ratio: `4:1` is four new ones for one old one, `1:10` is a reverse split.

    Raises:
        InvalidInputError: the text is not a ratio.
    """
    new, _, old = text.partition(":")
    if re.fullmatch(RATIO_PATTERN, text) is None or new == old:
        raise InvalidInputError(
            f"{text!r} is no ratio of a split: write new for old, as 4:1, or 1:10 of a reverse "
            "split; both are whole numbers of at most nine digits, and they differ"
        )
    return int(new), int(old)


async def split(
    database: Connections,
    security: str,
    day: date,
    ratio: str,
    *,
    again: bool = False,
    all_records: bool = False,
) -> SplitCorrection:
    """Multiply the quantities that are held of a security from a date on; their cost stays.

    All position records from that date on have another quantity. A position whose record began
    before gets a record on the date. Prices are not touched.

    Args:
        database: the database.
        security: the security.
        day: the first date on which the new quantities are held.
        ratio: new for old, as `4:1`.
        again: make it though one of this security was made already, for a date within 30 days.
        all_records: make it though records seem to have the new quantities already.

    Raises:
        NotFoundError: there is no such security, or nobody holds it on the date or later.
        InvalidInputError: the ratio or the date is invalid, or a new quantity is not exact at 10
            decimal places or does not fit.
        CorrectionRefusedError: a split of this security was made already for a date within 30
            days; or the quantity of a record is the one before it times the ratio.
    """
    numerator, denominator = parse_ratio(ratio)
    if not EARLIEST <= day <= LATEST:
        raise InvalidInputError(f"{day} is out of range ({EARLIEST} to {LATEST})")
    words = f"split of {security} on "
    async with database.transaction() as connection:
        await require_security(connection, security)
        await sql("lock_split_positions").value(connection, security=security)
        # Whoever has made the same split meanwhile has held these locks.
        if not again:
            await _require_first(connection, security, day, words)
        await recorded.keep_replaced(connection)
        await sql("split_records").execute(
            connection,
            security=security,
            day=day,
            numerator=Decimal(numerator),
            denominator=Decimal(denominator),
        )
        count = await sql("count_split").one(connection, day=day)
        if not count["records"]:
            raise NotFoundError(f"nobody holds {security!r} on {day} or later")
        if count["misfits"]:
            raise await _misfits(connection, security, ratio, count["misfits"])
        if count["split_already"] and not all_records:
            raise await _split_already(connection, security, ratio, count["split_already"])
        quantities = await sql("quantities_of_split").fetch(connection, most=_SHOWN_QUANTITIES)
        async with Incoming(connection, COLUMNS[Kind.POSITIONS]) as incoming:
            await sql("incoming_of_split").execute(connection)
            await incoming.analyze()
            counts = await upserts.write_histories(connection, replace=False)
        await connection.execute("DROP TABLE split_records")
        load_id = await recorded.record(
            connection, Kind.POSITIONS.value, f"{words}{day} {ratio}", count["records"], counts
        )
        prices = await sql("prices_around").one(connection, security=security, day=day)
    trigger = counts["trigger_id"]
    return SplitCorrection(
        security=security,
        date=day,
        ratio=ratio,
        holders=count["positions"],
        begin_later=count["begin_later"],
        records=count["records"],
        quantities=tuple(SplitQuantity(*row) for row in quantities),
        trigger_ids=() if trigger is None else (trigger,),
        positions=counts["positions_corrected"],
        load_id=load_id,
        price_warning=_price_warning(prices, security, day, numerator, denominator),
        warnings=future_date_warnings(Kind.POSITIONS, day),
    )


async def _require_first(connection: Connection, security: str, day: date, words: str) -> None:
    """Require that no other split of the security with a near date is in force.

    Raises:
        CorrectionRefusedError: there is one; the message names all.
    """
    made = await sql("splits_made").fetch(connection, words=words, day=day, reach=_REACH_DAYS)
    if not made:
        return
    listed = ", ".join(
        f"{each['ratio']} on {each['day']}, as load {each['load_id']}" for each in made
    )
    raise CorrectionRefusedError(
        f"a split of {security} was made already within {_REACH_DAYS} days of {day}: {listed}. "
        f"`revalue loads revert {made[-1]['load_id']}` takes it back. If this is another one, pass "
        "--again (in Python again=True, over HTTP `again`)"
    )


async def _split_already(
    connection: Connection, security: str, ratio: str, count: int
) -> CorrectionRefusedError:
    """Name the positions whose records seem to be in new shares already."""
    rows = await sql("split_already").fetch(connection, most=_SHOWN_ROWS)
    return CorrectionRefusedError(
        f"the quantity of {count:,} records of {security} is already the one before it times "
        f"{ratio}, so a file has probably stated the split; nothing is changed: "
        + _listed(rows, count)
        + ". To multiply these, too, pass --all-records (in Python all_records=True, over HTTP "
        "`all_records`), and load the file that has stated the split again after it"
    )


def _listed(rows: Sequence[Any], count: int) -> str:
    """Name the first of so many records: `P1 on 2024-03-05 (7)`."""
    shown = ", ".join(
        f"{row['portfolio_id']} on {row['position_date']} ({_plain(row['quantity'])})"
        for row in rows
    )
    return shown + (f" and {count - len(rows):,} more" if count > len(rows) else "")


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _price_warning(
    prices: Any, security: str, day: date, numerator: int, denominator: int
) -> str | None:
    """Say what looks wrong in the prices around a split; None: they show the split, or seem to.

    A price shows a split if it is nearer to the former one of a new share than to that of an old
    one, and has not moved far besides.
    """
    before, after = prices["price_before"], prices["price_after"]
    if before is None or after is None:
        when = "before" if before is None else "from"
        return f"no price of {security} is stored {when} {day}: the split cannot be seen in prices"
    told = (
        f"{_plain(before)} {prices['unit_before']} on {prices['date_before']}, "
        f"{_plain(after)} {prices['unit_after']} on {prices['date_after']}"
    )
    ratio = f"{numerator}:{denominator}"
    if prices["unit_before"] != prices["unit_after"]:
        return f"the prices of {security} do not show whether there was a split {ratio}: {told}"
    may_move = min(abs(math.log(numerator / denominator)) / 2, _MAX_MOVE)
    moved = math.log(after * numerator / (before * denominator))
    if abs(moved) <= may_move:
        return None
    return f"the prices of {security} do not show a split {ratio}: {told}"


async def _misfits(
    connection: Connection, security: str, ratio: str, count: int
) -> InvalidInputError:
    """Name the positions whose new quantity cannot be stored as it is."""
    rows = await sql("misfits_of_split").fetch(connection, most=_SHOWN_ROWS)
    return InvalidInputError(
        f"a split {ratio} of {security} does not give a quantity with at most 18 digits before and "
        f"10 after the point in {count:,} records, nothing is changed: {_listed(rows, count)}"
        ". What a holder gets for a fraction is for you to say: load the new quantities of this "
        "security as a file of positions"
    )
