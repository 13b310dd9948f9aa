"""Models of previews: what corrections would do."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from revalue.console.web.schemas.fields import (
    Amount,
    BaseCurrency,
    Day,
    Model,
    PortfolioId,
    SecurityId,
    Warnings,
)
from revalue.console.web.schemas.loads import RevertCounts
from revalue.console.web.schemas.splits import SplitCounts


class PreviewedCorrection(Model):
    """A correction of the request, with the value that it would replace."""

    what: str = Field(description="What would be corrected.")
    old: str | None = Field(
        description="The stored value; of a position the record in force. Null: there is none."
    )
    new: str | None = Field(
        description="The value that would replace it. Null: it would be deleted."
    )
    warnings: Warnings


class PreviewedPortfolio(Model):
    """A portfolio on the date on which its market value changes most.

    The market values are those of its affected positions on that date.
    """

    portfolio_id: PortfolioId
    base_currency: BaseCurrency
    positions: int = Field(description="Affected positions.")
    position_days: int = Field(description="Affected position-days.")
    date: Day = Field(description="Business day.")
    market_value_before: Amount = Field(description="Market value now, in base currency.")
    market_value_after: Amount = Field(description="Market value after the corrections.")
    change: Amount = Field(description="Market value after minus market value before.")


class PreviewedMover(Model):
    """A position on the date on which its market value changes most."""

    portfolio_id: PortfolioId
    security_id: SecurityId
    base_currency: BaseCurrency
    date: Day = Field(description="Business day.")
    market_value_before: Amount = Field(description="Market value now, in base currency.")
    market_value_after: Amount = Field(description="Market value after the corrections.")
    change: Amount = Field(description="Market value after minus market value before.")


class PreviewEstimate(Model):
    """How long the engine would take, estimated from its most recent jobs."""

    seconds: float = Field(description="Estimated time.")
    bound: Literal["about", "at least", "at most"] = Field(
        description="Whether `seconds` is an estimate, a lower bound or an upper bound."
    )
    rows_per_second: float = Field(description="Speed of these jobs.")
    jobs: int = Field(description="Number of these jobs.")


class CorrectedFile(Model):
    """What the file would do: its rows by result."""

    kind: Literal["prices", "fx_rates", "positions"] = Field(description="What the file holds.")
    rows: int = Field(description="Rows of the file.")
    changed: int = Field(description="Rows that differ from the stored data.")
    unchanged: int = Field(description="Rows that are stored already.")
    positions: int = Field(description="Positions that the file can affect, at most.")
    warnings: Warnings


class _Preview(Model):
    positions: int = Field(description="Positions that would be valued again.")
    position_days: int = Field(
        description="Position-days that would be valued, those that are due already included."
    )
    first_date: Day | None = Field(description="First of these dates; null: none.")
    last_date: Day | None = Field(description="Last of these dates, included; null: none.")
    waiting: dict[str, int] = Field(
        description="Positions with a date that would have no value, or that would fail, by the "
        "failure reason."
    )
    without_value: int = Field(
        description="Position-days that would have no value, because data is missing."
    )
    portfolios: list[PreviewedPortfolio] = Field(description="Affected portfolios.")
    movers: list[PreviewedMover] = Field(
        description="The largest changes of each base currency, largest first."
    )
    estimated_seconds: float | None = Field(description="Estimated time; null: unknown.")
    estimate: PreviewEstimate | None = Field(
        description="The estimate and its basis; null: no finished job is recorded."
    )


class Preview(_Preview):
    """What the corrections would do together."""

    correction: list[PreviewedCorrection] = Field(description="The corrections of the request.")


class PreviewFile(_Preview):
    """What a file of corrections would do."""

    correction: CorrectedFile = Field(description="The file of the request.")


class PreviewSplit(_Preview):
    """What a split would do."""

    correction: SplitCounts = Field(description="The split of the request.")


class PreviewRevert(_Preview):
    """What it would do to take a load back."""

    correction: RevertCounts = Field(description="The load of the request.")


class PreviewProblem(Model):
    """Why a preview failed: what the call would have returned as a problem."""

    type: str = Field(description="`urn:revalue:` and the name of the error, or about:blank.")
    title: str = Field(description="Name of the error.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="What is wrong with the corrections.")


class PreviewProgress(Model):
    """A preview in the background: its progress, then its result."""

    preview_id: str = Field(description="Preview id.")
    state: Literal["QUEUED", "RUNNING", "COMPLETE", "FAILED", "CANCELLED"] = Field(
        description="QUEUED: it waits for another preview. COMPLETE: `result` is there. FAILED: "
        "`problem` says why."
    )
    created_at: datetime = Field(description="When it was requested.")
    position_days_valued: int = Field(description="Position-days that are valued.")
    position_days: int | None = Field(
        description="Position-days that will be valued; null: it is not planned yet."
    )
    expires_at: datetime | None = Field(
        description="When the result is forgotten; null: it is not finished."
    )
    result: Preview | PreviewFile | PreviewSplit | PreviewRevert | None = Field(
        description="What the corrections would do."
    )
    problem: PreviewProblem | None = Field(description="Why it failed.")
