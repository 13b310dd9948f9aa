"""Models of the responses, for the OpenAPI document and for the columns of tables.

Responses are written from plain rows (responses.py), not from these models; the tests check each
response against the OpenAPI document.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from revalue.console.web.parameters import IsoDate
from revalue.engine.correct.parsing import MAX_ID_CHARACTERS

Day = date


@dataclass(frozen=True)
class DecimalPlaces:
    """The decimal places of a number that is text in JSON and a decimal in Arrow and Parquet."""

    places: int


_EXACT = Field(
    pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="Exact decimal, with its decimal places."
)
Amount = Annotated[str, _EXACT, DecimalPlaces(10)]
Rate = Annotated[str, _EXACT, DecimalPlaces(18)]
ReprocessingStatus = Annotated[
    Literal["CURRENT", "IN_PROGRESS"],
    Field(
        description="IN_PROGRESS while a correction is in progress; the previous version is shown."
    ),
]
State = Literal["CURRENT", "BEHIND", "REPROCESSING", "WAITING_FOR_DATA", "FAILED"]
ValuationStatus = Annotated[
    Literal["VALUED_CURRENT", "VALUED_STALE"],
    Field(description="VALUED_STALE: valued with a price or rate of an earlier day."),
]
LineStatus = Annotated[
    Literal["VALUED_CURRENT", "VALUED_STALE", "WAITING_FOR_DATA", "FAILED", "NOT_VALUED"],
    Field(
        description="VALUED_STALE: with an older price or rate. The last three statuses: no value."
    ),
]
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
Lane = Annotated[
    Literal["LIVE", "HISTORY"],
    Field(description="LIVE: only the newest dates of the position are due. HISTORY: the others."),
]

PortfolioId = Annotated[str, Field(description="Portfolio id.")]
SecurityId = Annotated[str, Field(description="Security id.")]
BaseCurrency = Annotated[str, Field(description="Currency in which the portfolio reports.")]
Epoch = Annotated[int, Field(description="Version number of the position's history.")]
PublishedEpoch = Annotated[int, Field(description="The epoch that readers see.")]
Watermark = Annotated[
    Day | None,
    Field(description="Date up to which nothing of the position is due; null: nothing is valued."),
]
Horizon = Annotated[
    Day | None,
    Field(
        description="Last business day that is opened, so that it is valued; null: there is none."
    ),
]
FailureReason = Annotated[str | None, Field(description="Why it waits or failed.")]
FirstHole = Annotated[
    Day | None,
    Field(
        description="First date without a value for want of data; null: there is none, or with "
        "`known_at`."
    ),
]
LastHole = Annotated[
    Day | None,
    Field(description="Last date without a value for want of data; later dates are valued."),
]
ReprocessingSince = Annotated[
    datetime | None,
    Field(description="When the first correction that is not shown yet was committed."),
]
CorrectedBy = Annotated[
    str | None,
    Field(
        description="Who has made the correction: the name of a token, a user and a machine, or a "
        "user of the database; null: not known."
    ),
]
CorrectedWhy = Annotated[
    str | None, Field(description="The reason of the correction; null: none was given.")
]
FirstDate = Annotated[Day, Field(description="First date, included.")]
LastDate = Annotated[Day, Field(description="Last date, included.")]
Attempts = Annotated[int, Field(description="Attempts that count toward the maximum.")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Inputs(_Model):
    quantity: Amount = Field(description="Quantity held.")
    cost_basis_local: Amount = Field(description="Cost basis in local currency.")
    cost_basis: Amount = Field(description="Cost basis in base currency.")
    price: Rate | None = Field(description="Price per unit in local currency.")
    price_date: Day | None = Field(description="Date of the price.")
    fx_rate: Rate | None = Field(description="Base currency per unit of local currency.")
    fx_date: Day | None = Field(description="Date of the FX rate.")
    market_value_local: Amount = Field(description="Market value in local currency.")
    market_value: Amount = Field(description="Market value in base currency.")
    unrealized_gain_local: Amount = Field(description="Unrealized gain in local currency.")
    unrealized_gain: Amount = Field(description="Unrealized gain in base currency.")


class _Dated(_Model):
    date: Day = Field(description="Business day.")
    valuation_status: ValuationStatus


class ValuedDate(_Inputs, _Dated):
    """The value of a position on one business day.

    price and fx_rate are null for a quantity of 0; fx_date is null also where no rate was needed.
    """

    epoch: Epoch


class _Shown(_Model):
    quantity: Amount | None = Field(description="Quantity held.")
    cost_basis_local: Amount | None = Field(description="Cost basis in local currency.")
    cost_basis: Amount | None = Field(description="Cost basis in base currency.")
    price: Rate | None = Field(description="Price per unit in local currency.")
    price_date: Day | None = Field(description="Date of the price.")
    fx_rate: Rate | None = Field(description="Base currency per unit of local currency.")
    fx_date: Day | None = Field(description="Date of the FX rate.")
    market_value_local: Amount | None = Field(description="Market value in local currency.")
    market_value: Amount | None = Field(description="Market value in base currency.")
    unrealized_gain_local: Amount | None = Field(description="Unrealized gain in local currency.")
    unrealized_gain: Amount | None = Field(description="Unrealized gain in base currency.")


class _LineKey(_Model):
    security_id: SecurityId
    local_currency: str = Field(description="Currency of the security.")
    base_currency: BaseCurrency
    date: Day = Field(description="Business day.")
    valuation_status: LineStatus


class Line(_Shown, _LineKey):
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


class Total(_Model):
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


class _Version(_Model):
    epoch: Epoch
    is_shown: bool = Field(description="Whether this value is shown now.")
    valuation_status: ValuationStatus


class Change(_Inputs, _Version):
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


class ExceptionLine(_Model):
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
    confirmed_by: str | None = Field(
        description="Who has confirmed the price or rate; null: it is not confirmed."
    )
    why: str | None = Field(description="The reason of the confirmation.")


class Confirmation(_Model):
    """A price or rate that is confirmed, or is not confirmed any more."""

    kind: Literal["price", "rate"] = Field(description="What it is.")
    subject: str = Field(description="A security, or a pair of currencies LOCAL/BASE.")
    date: Day = Field(description="Business day on which it is shown.")
    value: Rate = Field(description="The price or rate.")
    is_confirmed: bool = Field(description="Whether it is confirmed now.")
    is_changed: bool = Field(description="Whether this call has changed that.")


class Exceptions(_Model):
    """What is to be looked at on a date."""

    dates: list[Day] = Field(
        description="Business days that were looked at; empty: no position is open on them."
    )
    counts: dict[str, int] = Field(description="Number of lines by kind, on all pages.")
    items: list[ExceptionLine] = Field(
        description="Lines by kind, and then by the market value that is concerned, largest first."
    )
    next: int | None = Field(description="`after` of the next page; null: this is the last.")


class Step(_Model):
    """One step of an explanation."""

    step: int = Field(description="Number of the step, from 1.")
    text: str = Field(description="What was looked up or computed.")


class _Portfolio(_Model):
    portfolio_id: PortfolioId
    base_currency: BaseCurrency
    positions: int = Field(description="Number of positions.")
    positions_reprocessing: int = Field(description="Positions that are being reprocessed.")
    first_watermark: Day | None = Field(description="Earliest watermark of its positions.")
    horizon: Horizon
    reprocessing_status: ReprocessingStatus


class PortfolioName(_Model):
    """A portfolio."""

    portfolio_id: PortfolioId
    base_currency: BaseCurrency


class Portfolios(_Model):
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


class _ReportedKey(_Model):
    portfolio_id: PortfolioId
    security_id: SecurityId
    date: Day = Field(description="Business day.")
    base_currency: BaseCurrency
    local_currency: str = Field(description="Currency of the security.")
    valuation_status: LineStatus
    reprocessing_status: ReprocessingStatus


class ReportedPosition(_Shown, _ReportedKey):
    """An open position on one business day; its numbers are null if it has no value."""

    price_effect: Amount | None = Field(description="Part of the gain that prices have made.")
    fx_effect: Amount | None = Field(description="Part of the gain that FX rates have made.")
    epoch: int | None = Field(description="Epoch of the shown value.")
    failure_reason: str | None = Field(description="Why the position has no value.")


class PositionReport(_Model):
    """The open positions of a report."""

    items: list[ReportedPosition] = Field(
        description="By business day, portfolio_id and security_id."
    )
    next: None = Field(description="Always null: there is one page.")


class ReportedTotal(_Model):
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


class TotalReport(_Model):
    """The totals of a report."""

    items: list[ReportedTotal] = Field(description="By business day, then portfolio or currency.")
    next: None = Field(description="Always null: there is one page.")


class _Position(_Model):
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


class Explanation(_Model):
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


class CorrectionInProgress(_Model):
    """A correction whose positions are not all published yet.

    Corrections that were fanned out together have their progress in common.
    """

    trigger_id: int = Field(description="Trigger of the correction.")
    kind: Cause = Field(description="What was corrected.")
    security_id: str | None = Field(description="Security whose data were corrected.")
    portfolio_id: str | None = Field(description="Portfolio whose position was corrected.")
    base_currency: str | None = Field(description="Base currency of the corrected rate.")
    quote_currency: str | None = Field(description="Quote currency of the corrected rate.")
    first_date: Day | None = Field(description="First affected date; null: from the first on.")
    last_date: Day | None = Field(description="Last affected date, included; null: to the last.")
    created_at: datetime = Field(description="When the correction was committed.")
    corrected_by: CorrectedBy
    why: CorrectedWhy
    fanned_out_at: datetime | None = Field(description="When it was fanned out; null: queued.")
    together: int = Field(description="Corrections fanned out together, this one included.")
    positions_invalidated: int = Field(description="Positions that they invalidated.")
    positions_left: int | None = Field(
        description="Invalidated positions that do not show them yet; null while queued."
    )
    progress: float | None = Field(
        description="Share of the invalidated positions that show them, 0 to 1; null while queued."
    )


class Reason(_Model):
    """A reason why positions wait for data or failed."""

    reason: str = Field(description="Code of the reason.")
    positions: int = Field(description="Number of positions.")
    example: str = Field(description="Failure reason of one of them.")


class Reprocessing(_Model):
    """The state of the engine, and the corrections in progress."""

    counted_at: datetime = Field(
        description="When the positions, the work that is left and the jobs were counted."
    )
    read_at: datetime = Field(description="When the rest was read.")
    changed_since_count: bool = Field(
        description="Whether something was corrected, opened, added or retried since the count."
    )
    positions: dict[str, int] = Field(description="Number of positions by state.")
    first_watermark: Day | None = Field(
        description="Earliest watermark; null: some position was never scheduled."
    )
    last_watermark: Day | None = Field(description="Latest watermark.")
    horizon: Horizon
    first_hole: FirstHole
    last_hole: LastHole
    frontier_of_holes: Day | None = Field(
        description="Date up to which the positions with holes are valued but for their holes."
    )
    reasons: list[Reason] = Field(description="Why positions wait or failed.")
    triggers_queued: int = Field(description="Corrections that are not fanned out yet.")
    jobs_deferred: int = Field(description="Jobs that wait for their next retry.")
    dead_letters: int = Field(description="Jobs that failed for good and are still due.")
    term: int = Field(description="Number of the newest scheduler term.")
    holder: str | None = Field(description="Scheduler that leads; null: none.")
    heartbeat_age_seconds: float | None = Field(description="Time since its last heartbeat.")
    zombie_jobs_fenced: int = Field(
        description="Spans of jobs that an abandoned attempt tried to finish and could not."
    )
    calendars_not_opened: list[str] = Field(
        description="Calendars of positions of which no business day is opened: nothing is due."
    )
    paused_at: datetime | None = Field(description="Since when the scheduler is paused.")
    paused_by: str | None = Field(description="Who paused it.")
    is_current: bool = Field(
        description="Whether every position is CURRENT now and no correction is queued."
    )
    remaining_position_days: int = Field(
        description="Due position-days of positions that neither wait for data nor failed."
    )
    rows_per_second: float | None = Field(description="Speed of the most recent jobs.")
    estimated_seconds: float | None = Field(
        description="Time left; null: unknown. No job has finished, no scheduler is running, or a "
        "correction is queued."
    )
    items: list[CorrectionInProgress] = Field(description="Corrections, oldest first, at most 200.")
    next: None = Field(description="Always null: there is one page.")


class Job(_Model):
    """A span of a valuation job: one position over a range of its dates."""

    job_id: int = Field(description="Job id.")
    portfolio_id: PortfolioId
    security_id: SecurityId
    status: JobState = Field(
        description="Status of the job; SUPERSEDED if the job is unfinished and the position has a "
        "newer epoch."
    )
    lane: Lane
    epoch: Epoch
    first_date: FirstDate
    last_date: LastDate
    valued_through: Day | None = Field(
        description="Last date of the span once its job is done: every date is valued or a hole."
    )
    attempt_count: Attempts
    rows_written: int | None = Field(
        description="Rows that the job has written; null if it has other spans, or is not done."
    )
    failure_reason: FailureReason
    trigger_id: int | None = Field(description="Trigger of the correction that is the cause.")
    term: int = Field(description="Term of the scheduler that started it last.")
    task_id: int = Field(description="Task that it belongs to; 0: it is not in a task.")
    created_at: datetime = Field(description="When the job was staged.")
    finished_at: datetime | None = Field(description="When the job finished.")


class Jobs(_Model):
    """The spans of valuation jobs."""

    items: list[Job] = Field(description="Spans, the newest job first, then by position and date.")
    next: str | None = Field(description="`before` of the next page; null: this is the last.")


class DeadLetter(_Model):
    """The record of a job that failed for good."""

    dead_letter_id: int = Field(description="Dead letter id.")
    job_id: int = Field(description="Job id.")
    portfolio_id: PortfolioId
    security_id: SecurityId
    epoch: Epoch
    first_date: FirstDate
    last_date: LastDate
    status: JobState = Field(description="Present status of the job.")
    attempt_count: Attempts
    failure_reason: str = Field(description="Why the job failed.")
    died_at: datetime = Field(description="When the job failed for good.")
    requeued_at: datetime | None = Field(description="When an operator requeued the job.")


class DeadLetters(_Model):
    """Dead letters."""

    items: list[DeadLetter] = Field(description="Dead letters, newest first.")
    next: int | None = Field(description="`before` of the next page; null: this is the last.")


class StuckPosition(_Model):
    """A position that waits for data, failed or is being reprocessed."""

    position_id: int = Field(description="Position id.")
    portfolio_id: PortfolioId
    security_id: SecurityId
    state: State = Field(description="State of the position.")
    reprocessing_status: ReprocessingStatus
    watermark_date: Watermark
    epoch: Epoch
    published_epoch: PublishedEpoch
    failure_reason: FailureReason
    first_hole: FirstHole
    last_hole: LastHole
    since: datetime | None = Field(
        description="When its job was staged, or when the correction was committed."
    )


class StuckPositions(_Model):
    """Positions that wait for data, failed or are being reprocessed."""

    items: list[StuckPosition] = Field(description="Positions, by position_id.")
    next: int | None = Field(description="`after` of the next page; null: this is the last.")


class OpenDays(_Model):
    """Business days to open."""

    date: IsoDate = Field(description="Day to open through.")
    calendar_id: str | None = Field(
        default=None,
        max_length=MAX_ID_CHARACTERS,
        description="Calendar, of which the day is a business day; null: all calendars, each "
        "through its last business day at or before the day.",
    )
    back: bool = Field(
        default=False,
        description="Also move calendars back that are opened through a later day. The values of "
        "the days after it are withdrawn.",
    )


class OpenedCalendar(_Model):
    """What opening has done to a calendar."""

    calendar_id: str = Field(description="Calendar.")
    opened_before: Day | None = Field(description="Through which day it was opened before.")
    opened_through: Day | None = Field(description="Through which day it is opened now.")
    business_days: int = Field(
        description="Number of business days that were opened; negative: that were closed again."
    )


class OpenedCalendars(_Model):
    """What opening has done."""

    items: list[OpenedCalendar] = Field(description="One entry per calendar, by calendar_id.")


class RetriedJob(_Model):
    """A job that was retried."""

    job_id: int = Field(description="Job id.")
    status: Literal["PENDING", "SUPERSEDED"] = Field(
        description="PENDING: the job runs next. SUPERSEDED: its dates without a value are due "
        "again, under a new epoch and with a new job."
    )


class PreviewedCorrection(_Model):
    """A correction of the request, with the value that it would replace."""

    what: str = Field(description="What would be corrected.")
    old: str | None = Field(
        description="The stored value; of a position the record in force. Null: there is none."
    )
    new: str | None = Field(
        description="The value that would replace it. Null: it would be deleted."
    )


class PreviewedPortfolio(_Model):
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


class PreviewedMover(_Model):
    """A position on the date on which its market value changes most."""

    portfolio_id: PortfolioId
    security_id: SecurityId
    base_currency: BaseCurrency
    date: Day = Field(description="Business day.")
    market_value_before: Amount = Field(description="Market value now, in base currency.")
    market_value_after: Amount = Field(description="Market value after the corrections.")
    change: Amount = Field(description="Market value after minus market value before.")


class PreviewEstimate(_Model):
    """How long the engine would take, estimated from its most recent jobs."""

    seconds: float = Field(description="Estimated time.")
    bound: Literal["about", "at least", "at most"] = Field(
        description="Whether `seconds` is an estimate, a lower bound or an upper bound."
    )
    rows_per_second: float = Field(description="Speed of these jobs.")
    jobs: int = Field(description="Number of these jobs.")


class CorrectedFile(_Model):
    """What the file would do: its rows by result."""

    kind: Literal["prices", "fx_rates", "positions"] = Field(description="What the file holds.")
    rows: int = Field(description="Rows of the file.")
    changed: int = Field(description="Rows that differ from the stored data.")
    unchanged: int = Field(description="Rows that are stored already.")
    positions: int = Field(description="Positions that the file can affect, at most.")


class _Preview(_Model):
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


class MadeCorrection(_Model):
    """A correction that was made."""

    what: str = Field(description="What was corrected.")
    old: str | None = Field(
        description="The value before; of a position the record in force. Null: there was none."
    )
    new: str | None = Field(description="The value now. Null: it is deleted.")


class CorrectionsMade(_Model):
    """Corrections that were made together."""

    corrected_at: datetime = Field(description="When, by the clock of the database.")
    corrected_by: str = Field(description="Name of the token.")
    why: str = Field(description="The reason.")
    corrections: list[MadeCorrection] = Field(description="In the order of the request.")
    trigger_ids: list[int] = Field(
        description="Triggers that record them; empty: no value can have changed."
    )
    positions: int = Field(description="Positions that they affect, at most; each counts once.")


class PreviewProblem(_Model):
    """Why a preview failed: what the call would have returned as a problem."""

    type: str = Field(description="`urn:revalue:` and the name of the error, or about:blank.")
    title: str = Field(description="Name of the error.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="What is wrong with the corrections.")


class PreviewProgress(_Model):
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
    result: Preview | PreviewFile | None = Field(description="What the corrections would do.")
    problem: PreviewProblem | None = Field(description="Why it failed.")


class Health(_Model):
    """Service is healthy."""

    status: Literal["ok"] = Field(description="Always ok: a service that is not healthy is 503.")
