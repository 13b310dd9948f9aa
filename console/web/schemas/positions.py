"""Models of one position: its values by date, the changes of a value, its explanation."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from revalue.console.web.schemas.fields import (
    Cause,
    CorrectedBy,
    CorrectedWhy,
    Day,
    Epoch,
    FailureReason,
    FirstHole,
    Horizon,
    LastHole,
    Model,
    PortfolioId,
    ReprocessingSince,
    ReprocessingStatus,
    SecurityId,
    State,
    Watermark,
)
from revalue.console.web.schemas.values import Values

ValuationStatus = Annotated[
    Literal["VALUED_CURRENT", "VALUED_STALE"],
    Field(description="VALUED_STALE: valued with a price or rate of an earlier day."),
]


class _Dated(Model):
    date: Day = Field(description="Business day.")
    valuation_status: ValuationStatus


class ValuedDate(Values, _Dated):
    """The value of a position on one business day.

    price and fx_rate are null for a quantity of 0; fx_date is null also where no rate was needed.
    """

    epoch: Epoch


class _Version(Model):
    epoch: Epoch
    is_shown: bool = Field(description="Whether this value is shown now.")
    valuation_status: ValuationStatus


class Change(Values, _Version):
    """A value that a date has had."""

    job_id: int | None = Field(description="Job that computed the value.")
    valued_at: datetime | None = Field(description="When the job finished.")
    published_at: datetime | None = Field(description="Since when readers could see the value.")
    superseded_at: datetime | None = Field(description="Until when readers could see the value.")
    was_closed: bool = Field(
        description="Whether a position correction then closed the position on this date."
    )
    trigger_id: int | None = Field(description="Trigger of the correction that is the cause.")
    cause: Cause | None = Field(description="What was corrected; null: the first valuation.")
    cause_security: str | None = Field(description="Security whose data were corrected.")
    cause_base_currency: str | None = Field(description="Base currency of the corrected rate.")
    cause_quote_currency: str | None = Field(description="Quote currency of the corrected rate.")
    corrected_at: datetime | None = Field(description="When the correction was committed.")
    corrected_by: CorrectedBy
    why: CorrectedWhy
    changed: dict[str, list[str | None]] = Field(
        description="Inputs that differ from the previous value, as [old, new]."
    )


class Step(Model):
    """One step of an explanation."""

    step: int = Field(description="Number of the step, from 1.")
    text: str = Field(description="What was looked up or computed.")


class _Position(Model):
    portfolio_id: PortfolioId
    security_id: SecurityId
    state: State | None = Field(description="State of the position; null with `known_at`.")
    reprocessing_status: ReprocessingStatus | None = Field(
        description="IN_PROGRESS while a correction is in progress; null with `known_at` before "
        "the position was first published."
    )
    epoch: int | None = Field(description="Epoch of the newest version, published or not.")
    published_epoch: int | None = Field(description="The epoch that readers see.")
    watermark_date: Watermark
    frontier_date: Day | None = Field(description="Last date up to which it was scheduled.")
    horizon: Horizon
    failure_reason: FailureReason
    first_hole: FirstHole
    last_hole: LastHole
    reprocessing_since: ReprocessingSince


class History(_Position):
    """The values of a position."""

    items: list[ValuedDate] = Field(description="One value per business day.")
    next: Day | None = Field(description="`from` of the next page; null: this is the last.")


class Changes(_Position):
    """Every value that readers have seen of a position on a date."""

    items: list[Change] = Field(description="The values, oldest first.")
    next: None = Field(description="Always null: there is one page.")


class Explanation(Model):
    """How the value of a position on a date was computed."""

    portfolio_id: PortfolioId
    security_id: SecurityId
    date: Day = Field(description="Business day.")
    position: dict[str, Any] = Field(description="State, currencies and limits of the position.")
    steps: list[str] = Field(description="What was looked up and computed, in order.")
    computed: dict[str, Any] = Field(
        description="The recomputed row; empty if no row is due or data are missing."
    )
    missing: str | None = Field(description="Why the row cannot be computed; null: it can.")
    stored: dict[str, Any] | None = Field(description="The row that readers see.")
    differences: dict[str, list[str | None]] = Field(
        description="Fields that differ, as [stored, recomputed]."
    )
    verdict: Literal[
        "AGREES", "DISAGREES", "REPROCESSING", "MISSING", "NOT_VALUED_YET", "NOT_DUE"
    ] = Field(
        description="DISAGREES: the stored row differs from the recomputed row. REPROCESSING: it "
        "differs because a correction is in progress. MISSING: nothing is stored, because data are "
        "missing. NOT_DUE: no row is due on this date."
    )
    reprocessing_status: ReprocessingStatus
    items: list[Step] = Field(description="The steps, as rows.")
    next: None = Field(description="Always null: there is one page.")
