"""The options of commands that read a report: dates, portfolios, securities, and where to."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from revalue.console.cli.arguments import parse_date
from revalue.engine.errors import UsageError
from revalue.engine.read.files import FORMATS
from revalue.engine.read.report import Wanted

_TIME = "2024-03-06T18:00:00+01:00"


def _parse_time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time: write {_TIME}") from None
    if time.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time of day with a time zone: write {_TIME}")
    return time


OfDate = Annotated[
    date | None,
    typer.Option(
        "--date",
        parser=parse_date,
        metavar="DATE",
        help="Of each portfolio the last opened business date at or before this date. Default: "
        "the last one that is opened.",
    ),
]
First = Annotated[
    date | None,
    typer.Option("--from", parser=parse_date, metavar="DATE", help="Every date from this one on."),
]
Last = Annotated[
    date | None,
    typer.Option("--to", parser=parse_date, metavar="DATE", help="Every date up to this one."),
]
Portfolios = Annotated[
    list[str] | None,
    typer.Option("--portfolio", metavar="ID", help="Only this portfolio; may be repeated."),
]
Securities = Annotated[
    list[str] | None,
    typer.Option("--security", metavar="ID", help="Only this security; may be repeated."),
]
KnownAt = Annotated[
    datetime | None,
    typer.Option(
        "--known-at",
        parser=_parse_time,
        metavar="TIME",
        help="What readers saw at this time, with its zone: 2024-03-06T18:00:00+01:00.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help=f"Write a file; its ending says the format: {', '.join(FORMATS)}. All digits "
        "are in it, but Excel keeps 15.",
    ),
]


def wanted_report(
    day: date | None,
    first: date | None,
    last: date | None,
    portfolios: list[str] | None,
    securities: list[str] | None,
    known_at: datetime | None,
) -> Wanted:
    if day is not None and (first is not None or last is not None):
        raise UsageError("give --date, or --from and --to: not both")
    if first is None and last is not None:
        raise UsageError("--to needs --from: a range has a first date")
    return Wanted(
        last_date=day or last,
        first_date=first,
        portfolios=tuple(portfolios) if portfolios else None,
        securities=tuple(securities) if securities else None,
        known_at=known_at,
    )


def not_later(wanted: Wanted, newest: date) -> str:
    """Say that a later date was asked for than the newest that was found."""
    if wanted.first_date is not None or wanted.last_date in (None, newest):
        return ""
    return f" (the last business date that is opened at or before {wanted.last_date})"
