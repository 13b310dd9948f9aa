"""Models of what is to be looked at on a date, and of what is confirmed."""

from typing import Literal

from pydantic import Field

from revalue.console.web.schemas.fields import Amount, BaseCurrency, Day, Model, Rate


class ExceptionLine(Model):
    """Something to look at: it has no value, is old, or moved far."""

    kind: Literal[
        "FAILED",
        "NO_VALUE",
        "NOT_VALUED",
        "REPROCESSING",
        "OLD_PRICE",
        "OLD_RATE",
        "PRICE_MOVE",
        "RATE_MOVE",
        "VALUE_MOVE",
    ] = Field(
        description="What the line is about. NO_VALUE: data are missing. NOT_VALUED: not valued "
        "yet. REPROCESSING: its numbers are those of before a correction."
    )
    subject: str = Field(
        description="A security, or a pair of currencies LOCAL/BASE; of NOT_VALUED and VALUE_MOVE "
        "a portfolio and a security."
    )
    date: Day = Field(description="Business day.")
    detail: str = Field(description="The reason, or the values before and now.")
    move_percent: float | None = Field(
        description="By how much a price, rate or value moved, in percent. Null: not of a move, or "
        "of one from 0 or from a price that cannot be compared."
    )
    positions: int = Field(description="Positions that are concerned.")
    base_currency: BaseCurrency
    market_value: Amount | None = Field(
        description="Market value of these positions, in base currency; of one without a value "
        "that of the business day before. Null: none of them has one on either day."
    )
    change: Amount | None = Field(
        description="Change of the market value since the business day before."
    )
    value: Rate | None = Field(
        description="The price or rate that moved, which a confirmation names; null: not of one."
    )
    value_before: Rate | None = Field(
        description="The value from which it moved; null: not of one, or from a price that cannot "
        "be compared."
    )
    confirmed_by: str | None = Field(
        description="Who has confirmed the price or rate; null: it is not confirmed."
    )
    why: str | None = Field(description="The reason of the confirmation.")


class Confirmation(Model):
    """A price or rate that is confirmed, or is not confirmed any more."""

    kind: Literal["price", "rate"] = Field(description="What it is.")
    subject: str = Field(description="A security, or a pair of currencies LOCAL/BASE.")
    date: Day = Field(description="Business day on which it is shown.")
    value: Rate = Field(description="The price or rate.")
    is_confirmed: bool = Field(description="Whether it is confirmed now.")
    is_changed: bool = Field(description="Whether this call has changed that.")


class Exceptions(Model):
    """What is to be looked at on a date."""

    dates: list[Day] = Field(
        description="Business days that were looked at; empty: no position is open on them."
    )
    counts: dict[str, int] = Field(description="Number of lines by kind, on all pages.")
    items: list[ExceptionLine] = Field(
        description="Lines by kind, and then by the market value that is concerned, largest first."
    )
    next: int | None = Field(description="`after` of the next page; null: this is the last.")
