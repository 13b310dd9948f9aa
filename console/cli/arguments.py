"""Arguments and options that several commands share, and how their text is read."""

from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from revalue.engine.correct.inputs.kinds import Kind


def parse_date(text: str) -> date:
    """Read YYYY-MM-DD."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date: write YYYY-MM-DD") from None


def parse_decimal(text: str) -> Decimal:
    """Read a finite decimal number."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not a decimal number") from None
    if not number.is_finite():
        raise typer.BadParameter(f"{text!r} is not a finite number")
    return number


def parse_not_negative(text: str) -> Decimal:
    """Read a decimal number of 0 or more. The engine decides which numbers can be stored."""
    number = parse_decimal(text)
    if number < 0:
        raise typer.BadParameter(f"{text} is negative")
    return number


def parse_kind(text: str) -> Kind:
    """Read what a file contains; FX rates have several names."""
    try:
        return Kind(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(Kind)}") from None


def kinds_that_begin(text: str) -> list[str]:
    """Return what completes the name of a kind."""
    return [kind for kind in Kind if kind.startswith(text)]


Json = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON document on standard output.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Confirm: do not ask before data are deleted.")]

Portfolio = Annotated[str, typer.Argument(metavar="PORTFOLIO", help="Id of the portfolio.")]
Security = Annotated[str, typer.Argument(metavar="SECURITY", help="Id of the security.")]
Day = Annotated[
    date, typer.Argument(parser=parse_date, metavar="DATE", help="Business day, as YYYY-MM-DD.")
]
