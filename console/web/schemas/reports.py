"""Models of reports: open positions of many portfolios, and their totals."""

from pydantic import Field

from revalue.console.web.schemas.fields import (
    Amount,
    BaseCurrency,
    Day,
    LineStatus,
    Model,
    PortfolioId,
    ReprocessingStatus,
    SecurityId,
)
from revalue.console.web.schemas.values import ValuesOrNull


class _ReportedKey(Model):
    portfolio_id: PortfolioId
    security_id: SecurityId
    date: Day = Field(description="Business day.")
    base_currency: BaseCurrency
    local_currency: str = Field(description="Currency of the security.")
    valuation_status: LineStatus
    reprocessing_status: ReprocessingStatus


class ReportedPosition(ValuesOrNull, _ReportedKey):
    """An open position on one business day; its numbers are null if it has no value."""

    price_effect: Amount | None = Field(description="Part of the gain that prices have made.")
    fx_effect: Amount | None = Field(description="Part of the gain that FX rates have made.")
    epoch: int | None = Field(description="Epoch of the shown value.")
    failure_reason: str | None = Field(description="Why the position has no value.")


class PositionReport(Model):
    """The open positions of a report."""

    items: list[ReportedPosition] = Field(
        description="By business day, portfolio_id and security_id."
    )
    next: None = Field(description="Always null: there is one page.")


class ReportedTotal(Model):
    """A total on one business day, in base currency; sums are null if no line is valued."""

    portfolio_id: str | None = Field(
        None, description="Portfolio id; with `by=currency` there is none."
    )
    base_currency: BaseCurrency
    date: Day = Field(description="Business day.")
    market_value: Amount | None = Field(description="Sum of the valued lines.")
    cost_basis: Amount | None = Field(description="Sum of the valued lines.")
    unrealized_gain: Amount | None = Field(description="Sum of the valued lines.")
    price_effect: Amount | None = Field(description="Part of the gain that prices have made.")
    fx_effect: Amount | None = Field(description="Part of the gain that FX rates have made.")
    lines: int = Field(description="Positions that are open on the day.")
    lines_valued: int = Field(description="Lines with a value.")
    lines_stale: int = Field(description="Lines valued with a price or rate of an earlier day.")
    lines_waiting: int = Field(description="Lines without a value: data are missing or wrong.")
    lines_missing: int = Field(description="Lines that are not valued yet.")
    lines_reprocessing: int = Field(description="Lines that are being reprocessed.")


class TotalReport(Model):
    """The totals of a report."""

    items: list[ReportedTotal] = Field(description="By business day, then portfolio or currency.")
    next: None = Field(description="Always null: there is one page.")
