"""`revalue open`: open business days, so that they are valued."""

from collections.abc import Iterable
from datetime import date
from typing import Annotated

import typer

from revalue.console.cli.arguments import Day, Json
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import counted, out, print_json
from revalue.engine.correct.calendars.openings import Opening, open_calendars
from revalue.engine.postgres.database import Database

Calendar = Annotated[
    list[str] | None,
    typer.Option(
        "--calendar",
        metavar="CALENDAR",
        help="Open only this calendar, of which DATE has to be a business day; may be repeated.",
    ),
]


Back = Annotated[
    bool,
    typer.Option(
        "--back",
        help="Also move calendars back that are opened through a later day: the values of the days "
        "after DATE are withdrawn.",
    ),
]


def open_days(
    ctx: typer.Context,
    day: Day,
    calendar: Calendar = None,
    back: Back = False,
    as_json: Json = False,
) -> None:
    """Open the business days up to DATE, of all calendars: the next `revalue value` values them.

    Holidays differ, so each calendar is opened through its last business day at or before DATE. One
    that a portfolio has must be loaded up to DATE. What is opened already stays as it is.
    """

    async def run(database: Database) -> list[Opening]:
        return await open_calendars(database, day, calendar or None, back=back)

    openings = CliContext.of(ctx).run(run)
    if as_json:
        print_json(openings)
    else:
        print_openings(openings, day)


def print_openings(openings: Iterable[Opening], day: date) -> None:
    """Print what each calendar is opened through."""
    for each in openings:
        out.print(describe(each, day))


def describe(opening: Opening, day: date) -> str:
    """Say in one line what opening through a day has done to a calendar."""
    calendar, through = opening.calendar_id, opening.opened_through
    if through is None:
        return f"{calendar}: no business day at or before {day}, nothing is opened"
    last = "" if through == day else f", the last business day at or before {day}"
    if not opening.business_days:
        return f"{calendar}: opened through {through} already{last}"
    if opening.business_days < 0:
        closed = counted(-opening.business_days, "business day")
        return f"{calendar}: moved back to {through}{last}; {closed} closed again"
    opened = counted(opening.business_days, "business day")
    return f"{calendar}: opened through {through}{last}; {opened} opened"
