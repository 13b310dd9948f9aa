"""Models of valuation jobs, and of those that failed for good."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from revalue.console.web.schemas.fields import (
    Day,
    Epoch,
    FailureReason,
    Model,
    PortfolioId,
    SecurityId,
)

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
FirstDate = Annotated[Day, Field(description="First date, included.")]
LastDate = Annotated[Day, Field(description="Last date, included.")]
Attempts = Annotated[int, Field(description="Attempts that count toward the maximum.")]


class Job(Model):
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


class Jobs(Model):
    """The spans of valuation jobs."""

    items: list[Job] = Field(description="Spans, the newest job first, then by position and date.")
    next: str | None = Field(description="`before` of the next page; null: this is the last.")


class DeadLetter(Model):
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


class DeadLetters(Model):
    """Dead letters."""

    items: list[DeadLetter] = Field(description="Dead letters, newest first.")
    next: int | None = Field(description="`before` of the next page; null: this is the last.")


class RetriedJob(Model):
    """A job that was retried."""

    job_id: int = Field(description="Job id.")
    status: Literal["PENDING", "SUPERSEDED"] = Field(
        description="PENDING: the job runs next. SUPERSEDED: its dates without a value are due "
        "again, under a new epoch and with a new job."
    )
