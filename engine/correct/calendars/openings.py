"""Open business days: calendars hold years, and `opened_through` says up to where to value.

Loading business dates makes nothing due. A day is valued once its calendar is opened through it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from revalue.engine import logs
from revalue.engine.errors import (
    CorrectionRefusedError,
    InvalidInputError,
    NotFoundError,
    UsageError,
)
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import statements

sql = statements(__package__)

_log = logs.logger("openings")


@dataclass(frozen=True)
class Opening:
    """What opening has done to one calendar.

    Attributes:
        calendar_id: the calendar.
        opened_before: through which business date it was opened before; None: nothing was.
        opened_through: through which business date it is opened now; None: nothing is.
        business_days: how many business days were opened; negative: how many were closed again; 0:
            nothing has changed.
    """

    calendar_id: str
    opened_before: date | None
    opened_through: date | None
    business_days: int


async def open_calendars(
    database: Connections,
    day: date,
    calendars: Sequence[str] | None = None,
    *,
    back: bool = False,
) -> list[Opening]:
    """Open calendars through a day, all of them or none: what is due up to it is to be valued.

    Opening a day that is opened already changes nothing. Days after a calendar that is moved back
    are withdrawn: under a new epoch they show no number, and `known_at` still has what was seen.

    Args:
        database: where the calendars are.
        day: the day. In each calendar that is named, it has to be a business date.
        calendars: the calendars. None: all; each is opened through its last business date at or
            before `day`, because holidays differ. A calendar that begins after `day` stays as it
            is, and so does one that ends before `day` if no portfolio has it.
        back: also move calendars back that are opened through a later day.

    Returns:
        One entry per calendar, by calendar_id.

    Raises:
        NotFoundError: there is no such calendar, or none at all.
        InvalidInputError: the day is not a business date of a calendar that is named, or a calendar
            ends before it.
        CorrectionRefusedError: a calendar is opened through a later day, and `back` is not set.
        In each case nothing is opened.
    """
    if calendars is not None and not calendars:
        raise UsageError("no calendar is named: name one, or leave `calendars` out to open all")
    names = None if calendars is None else sorted(set(calendars))
    async with database.transaction() as connection:
        await sql("lock_calendars").execute(connection, calendars=names)
        found = await sql("calendars_to_open").fetch(connection, day=day, calendars=names)
        _require_calendars(names, {row["calendar_id"] for row in found})
        openings = [_opening(row, day, is_named=names is not None, back=back) for row in found]
        for each in openings:
            if each.business_days:
                await sql("open_calendar").execute(
                    connection, calendar=each.calendar_id, day=each.opened_through
                )
    for each in openings:
        if each.business_days:
            _log.info(
                "calendar opened",
                calendar=each.calendar_id,
                opened_before=str(each.opened_before),
                opened_through=str(each.opened_through),
                business_days=each.business_days,
            )
    return openings


def _require_calendars(names: list[str] | None, found: set[str]) -> None:
    missing = ", ".join(repr(name) for name in names or () if name not in found)
    if missing:
        raise NotFoundError(
            f"there is no calendar {missing}: load its days with `revalue load business_dates`. "
            "Nothing was opened"
        )
    if not found:
        raise NotFoundError(
            "there is no calendar: load its days with `revalue load business_dates`. "
            "Nothing was opened"
        )


def _opening(row: Any, day: date, *, is_named: bool, back: bool) -> Opening:
    """Decide through which date a calendar is opened; `row` is one of calendars_to_open."""
    calendar, before, last, after = (
        row["calendar_id"],
        row["opened_through"],
        row["day_before"],
        row["day_after"],
    )
    ends_before = last != day and after is None
    if not is_named and (last is None or (ends_before and not row["is_used"])):
        return Opening(calendar, before, before, 0)
    if before is not None and day < before and not back:
        raise CorrectionRefusedError(
            f"calendar {calendar} is opened through {before}, which is after {day}. To close the "
            "days after it again and withdraw their values, pass --back. Nothing was opened"
        )
    if ends_before:
        raise InvalidInputError(
            f"calendar {calendar} has business dates through {last or 'no date'} only: load them "
            f"up to {day} with `revalue load business_dates`. Nothing was opened"
        )
    if is_named and last != day:
        raise InvalidInputError(
            f"{day} is not a business date of calendar {calendar}: the one before it is "
            f"{last or 'none'}, the one after it is {after}. Nothing was opened"
        )
    return Opening(calendar, before, last, row["business_days"])
