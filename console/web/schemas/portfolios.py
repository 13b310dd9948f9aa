"""Models of portfolios: their list, the lines of one on a date, and its totals."""

from pydantic import Field

from revalue.console.web.schemas.fields import (
    Amount,
    BaseCurrency,
    Day,
    FirstHole,
    Horizon,
    LastHole,
    LineStatus,
    Model,
    PortfolioId,
    PublishedEpoch,
    ReprocessingSince,
    ReprocessingStatus,
    SecurityId,
    State,
    Watermark,
)
from revalue.console.web.schemas.values import ValuesOrNull


class _LineKey(Model):
    security_id: SecurityId
    local_currency: str = Field(description="Currency of the security.")
    base_currency: BaseCurrency
    date: Day = Field(description="Business day.")
    valuation_status: LineStatus


class Line(ValuesOrNull, _LineKey):
    """A position of a portfolio on one business day; its numbers are null if it has no value."""

    epoch: int | None = Field(description="Epoch of the shown value.")
    published_epoch: PublishedEpoch
    watermark_date: Watermark
    state: State | None = Field(description="State of the position; null with `known_at`.")
    reprocessing_status: ReprocessingStatus
    failure_reason: str | None = Field(description="Why the line has no value.")
    first_hole: FirstHole
    last_hole: LastHole
    frontier_date: Day | None = Field(description="Last date up to which it was scheduled.")
    reprocessing_since: ReprocessingSince


class Total(Model):
    """The totals of a portfolio on one business day."""

    date: Day = Field(description="Business day.")
    market_value: Amount | None = Field(
        description="Sum of the valued lines, in base currency; null if no line is valued."
    )
    unrealized_gain: Amount | None = Field(
        description="Sum of the valued lines, in base currency; null if no line is valued."
    )
    lines: int = Field(description="Positions that are open on the day.")
    lines_valued: int = Field(description="Lines with a value.")
    lines_stale: int = Field(description="Lines valued with a price or rate of an earlier day.")
    lines_waiting: int = Field(description="Lines without a value for want of data (holes).")
    lines_missing: int = Field(description="Lines that are not valued yet.")
    lines_reprocessing: int = Field(description="Lines that are being reprocessed.")
    stale: list[str] = Field(description="Securities of the stale lines, at most 20.")
    without_value: list[str] = Field(description="Securities of lines without value, at most 20.")


class _Portfolio(Model):
    portfolio_id: PortfolioId
    base_currency: BaseCurrency
    positions: int = Field(description="Number of positions.")
    positions_reprocessing: int = Field(description="Positions that are being reprocessed.")
    first_watermark: Day | None = Field(description="Earliest watermark of its positions.")
    horizon: Horizon
    reprocessing_status: ReprocessingStatus


class PortfolioName(Model):
    """A portfolio."""

    portfolio_id: PortfolioId
    base_currency: BaseCurrency


class Portfolios(Model):
    """Portfolios."""

    items: list[PortfolioName] = Field(description="Portfolios by portfolio_id.")
    next: str | None = Field(description="`after` of the next page; null: this is the last.")


class Positions(_Portfolio):
    """The positions of a portfolio on one business day."""

    items: list[Line] = Field(description="One line per open position, by security_id.")
    next: str | None = Field(description="`after` of the next page; null: this is the last.")


class Totals(_Portfolio):
    """The totals of a portfolio."""

    items: list[Total] = Field(description="One total per business day.")
    next: Day | None = Field(description="`from` of the next page; null: this is the last.")
