"""The answers as OpenAPI describes them. They are written by console.web.answering; the tests hold them to this."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Day = date


@dataclass(frozen=True)
class Places:
    """Of a decimal that JSON has as text: its decimal places where a column has a type."""

    places: int


_EXACT = Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="exact, with its decimal places")
Amount = Annotated[str, _EXACT, Places(10)]
Rate = Annotated[str, _EXACT, Places(18)]
Flag = Literal["CURRENT", "IN_PROGRESS"]
State = Literal["CURRENT", "BEHIND", "REPROCESSING", "WAITING_FOR_DATA", "FAILED"]
Valued = Literal["VALUED_CURRENT", "VALUED_STALE"]
Cause = Literal["PRICE", "FX", "INSTRUMENT", "CALENDAR", "POLICY", "POSITION"]
JobState = Literal[
    "PENDING",
    "PROCESSING",
    "COMPLETE",
    "SKIPPED_NO_POSITION",
    "WAITING_FOR_DATA",
    "FAILED",
    "SUPERSEDED",
]
Lane = Literal["LIVE", "HISTORY"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Inputs(_Model):
    quantity: Amount
    cost_basis_local: Amount
    cost_basis: Amount
    price: Rate | None
    price_date: Day | None
    fx_rate: Rate | None
    fx_date: Day | None
    market_value_local: Amount
    market_value: Amount
    unrealized_gain_local: Amount
    unrealized_gain: Amount


class _Dated(_Model):
    date: Day
    valuation_status: Valued


class ValuedDate(_Inputs, _Dated):
    """A position on a date. price and fx_rate are null for a quantity of 0, fx_date also where no rate was needed."""

    epoch: int


class Line(_Model):
    """A position of a portfolio; its numbers are null while it has no value on the date."""

    security_id: str
    local_currency: str
    base_currency: str
    date: Day
    valuation_status: Literal[
        "VALUED_CURRENT", "VALUED_STALE", "WAITING_FOR_DATA", "FAILED", "NOT_VALUED"
    ]
    quantity: Amount | None
    cost_basis_local: Amount | None
    cost_basis: Amount | None
    price: Rate | None
    price_date: Day | None
    fx_rate: Rate | None
    fx_date: Day | None
    market_value_local: Amount | None
    market_value: Amount | None
    unrealized_gain_local: Amount | None
    unrealized_gain: Amount | None
    epoch: int | None
    published_epoch: int
    watermark_date: Day | None
    state: State | None
    reprocessing_status: Flag
    failure_reason: str | None
    reprocessing_since: datetime | None


class Total(_Model):
    """A portfolio on a date: the sums are over lines_valued, null when that is 0."""

    date: Day
    market_value: Amount | None
    unrealized_gain: Amount | None
    lines: int
    lines_valued: int
    lines_stale: int
    lines_waiting: int | None
    lines_missing: int
    lines_reprocessing: int
    stale: list[str]
    without_value: list[str]


class _Numbered(_Model):
    epoch: int
    is_shown: bool
    valuation_status: Valued


class Change(_Inputs, _Numbered):
    """A number that a date has had. `changed`: the inputs that differ from the number before, as [old, new]."""

    job_id: int | None
    valued_at: datetime | None
    published_at: datetime | None
    superseded_at: datetime | None
    was_closed: bool
    trigger_id: int | None
    cause: Cause | None
    cause_security: str | None
    cause_base_currency: str | None
    cause_quote_currency: str | None
    corrected_at: datetime | None
    changed: dict[str, list[str | None]]


class Step(_Model):
    """One step of an explanation."""

    step: int
    text: str


class _Portfolio(_Model):
    portfolio_id: str
    base_currency: str
    positions: int
    positions_reprocessing: int
    first_watermark: Day | None
    horizon: Day | None
    reprocessing_status: Flag


class Positions(_Portfolio):
    """A portfolio's lines. next: the `after` of the next page."""

    items: list[Line]
    next: str | None


class Totals(_Portfolio):
    """A portfolio's totals. next: the `from` of the next page."""

    items: list[Total]
    next: Day | None


class _Key(_Model):
    portfolio_id: str
    security_id: str
    state: State | None
    reprocessing_status: Flag | None
    epoch: int | None
    published_epoch: int | None
    watermark_date: Day | None
    frontier_date: Day | None
    horizon: Day | None
    failure_reason: str | None
    reprocessing_since: datetime | None


class History(_Key):
    """A position's valued dates. next: the `from` of the next page."""

    items: list[ValuedDate]
    next: Day | None


class Changes(_Key):
    """Every number of a date, the oldest first."""

    items: list[Change]
    next: None


class Explained(_Model):
    """How a number came about. verdict: AGREES unless the stored row is another than the data give now; REPROCESSING when it
    is, because the position is being corrected. missing: why the data give none."""

    portfolio_id: str
    security_id: str
    date: Day
    position: dict[str, Any]
    steps: list[str]
    computed: dict[str, Any]
    missing: str | None
    stored: dict[str, Any] | None
    differences: dict[str, list[str | None]]
    verdict: Literal["AGREES", "DISAGREES", "REPROCESSING", "MISSING", "NOT_VALUED_YET", "NOT_DUE"]
    reprocessing_status: Flag
    items: list[Step]
    next: None


class Correcting(_Model):
    """A correction that is not complete, of first_date to last_date (null: without a beginning, an end). `together`: how
    many were fanned out with it, it included; the other numbers are of all of these. positions_left: positions that do not show them
    yet; progress: the share of positions_invalidated that do, 0 to 1. Both are null while it is queued."""

    trigger_id: int
    kind: Cause
    security_id: str | None
    portfolio_id: str | None
    base_currency: str | None
    quote_currency: str | None
    first_date: Day | None
    last_date: Day | None
    created_at: datetime
    fanned_out_at: datetime | None
    together: int
    positions_invalidated: int
    positions_left: int | None
    progress: float | None


class Reason(_Model):
    """Why positions wait or failed."""

    reason: str
    positions: int
    example: str


class Reprocessing(_Model):
    """Where the engine stands. estimated_seconds: null when nothing can be said (docs/api.md)."""

    positions: dict[str, int]
    first_watermark: Day | None
    last_watermark: Day | None
    horizon: Day | None
    reasons: list[Reason]
    triggers_queued: int
    jobs_deferred: int
    dead_letters: int
    term: int
    holder: str | None
    heartbeat_age_seconds: float | None
    zombie_jobs_fenced: int
    paused_at: datetime | None
    paused_by: str | None
    is_current: bool
    remaining_position_days: int
    rows_per_second: float | None
    estimated_seconds: float | None
    items: list[Correcting]
    next: None


class Job(_Model):
    """A valuation job."""

    job_id: int
    portfolio_id: str
    security_id: str
    status: JobState
    lane: Lane
    epoch: int
    first_date: Day
    last_date: Day
    valued_through: Day | None
    attempt_count: int
    rows_written: int | None
    failure_reason: str | None
    trigger_id: int | None
    term: int | None
    task_id: int | None
    created_at: datetime
    finished_at: datetime | None


class Jobs(_Model):
    """Jobs, newest first. next: the `before` of the next page."""

    items: list[Job]
    next: int | None


class Letter(_Model):
    """A job that failed for good."""

    dead_letter_id: int
    job_id: int
    portfolio_id: str
    security_id: str
    epoch: int
    first_date: Day
    last_date: Day
    status: JobState
    attempt_count: int
    failure_reason: str
    died_at: datetime
    requeued_at: datetime | None


class Letters(_Model):
    """Dead letters, newest first. next: the `before` of the next page."""

    items: list[Letter]
    next: int | None


class StuckPosition(_Model):
    """A position that waits, failed or is being corrected."""

    position_id: int
    portfolio_id: str
    security_id: str
    state: State
    reprocessing_status: Flag
    watermark_date: Day | None
    epoch: int
    published_epoch: int
    failure_reason: str | None
    since: datetime | None


class Stuck(_Model):
    """Stuck positions. next: the `after` of the next page."""

    items: list[StuckPosition]
    next: int | None


class Retried(_Model):
    """A job that will be tried again."""

    job_id: int
    status: Literal["PENDING"]


class PreviewedCorrection(_Model):
    """A correction of the request, with the value that it would replace."""

    what: str
    old: str
    new: str


class PreviewedPortfolio(_Model):
    """A portfolio on the date on which its value changes most."""

    portfolio_id: str
    base_currency: str
    positions: int
    position_days: int
    date: Day
    market_value_before: Amount
    market_value_after: Amount
    change: Amount


class PreviewedMover(_Model):
    """A position on the date on which its value changes most."""

    portfolio_id: str
    security_id: str
    base_currency: str
    date: Day
    market_value_before: Amount
    market_value_after: Amount
    change: Amount


class PreviewedTime(_Model):
    """By the jobs done last: seconds are "about", "at least" or "at most" what it takes."""

    seconds: float
    bound: Literal["about", "at least", "at most"]
    rows_per_second: float
    jobs: int


class CorrectedFile(_Model):
    """What the file would do: rows by what would become of them. positions: that it can reach, at most."""

    kind: Literal["prices", "fx_rates", "positions"]
    rows: int
    changed: int
    unchanged: int
    positions: int


class _Previewed(_Model):
    positions: int
    position_days: int
    first_date: Day | None
    last_date: Day | None
    waiting: dict[str, int]
    portfolios: list[PreviewedPortfolio]
    movers: list[PreviewedMover]
    estimated_seconds: float | None
    estimate: PreviewedTime | None


class Previewed(_Previewed):
    """What the corrections would do, together. waiting: positions that would not complete, by failure reason."""

    correction: list[PreviewedCorrection]


class PreviewedFile(_Previewed):
    """What a file of corrections would do."""

    correction: CorrectedFile


class Health(_Model):
    """It is well."""

    status: Literal["ok"]
