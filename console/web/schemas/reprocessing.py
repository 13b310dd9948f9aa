"""Models of the engine's progress, and of positions that wait, failed or reprocess."""

from datetime import datetime

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
    PublishedEpoch,
    ReprocessingStatus,
    SecurityId,
    State,
    Watermark,
)


class CorrectionInProgress(Model):
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


class Reason(Model):
    """A reason why positions wait for data or failed."""

    reason: str = Field(description="Code of the reason.")
    positions: int = Field(description="Number of positions.")
    example: str = Field(description="Failure reason of one of them.")


class Reprocessing(Model):
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


class StuckPosition(Model):
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


class StuckPositions(Model):
    """Positions that wait for data, failed or are being reprocessed."""

    items: list[StuckPosition] = Field(description="Positions, by position_id.")
    next: int | None = Field(description="`after` of the next page; null: this is the last.")
