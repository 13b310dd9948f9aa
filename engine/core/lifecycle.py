"""The states of a valuation job, and why one does not complete."""

from enum import StrEnum


class JobStatus(StrEnum):
    """PROCESSING -> any of the others; PENDING and WAITING_FOR_DATA -> PROCESSING; FAILED -> PENDING by an operator."""

    PENDING = "PENDING"  # to be tried again, not before a time
    PROCESSING = "PROCESSING"  # in a task
    COMPLETE = "COMPLETE"  # every owed date of the range has its row
    SKIPPED_NO_POSITION = "SKIPPED_NO_POSITION"  # no date of the range is owed
    WAITING_FOR_DATA = "WAITING_FOR_DATA"  # valued up to a date whose price or rate is missing
    FAILED = "FAILED"  # a dead letter tells why
    SUPERSEDED = "SUPERSEDED"  # the position's epoch moved on

    @property
    def is_terminal(self) -> bool:
        """Whether only an operator or a correction brings the dates up again."""
        return self not in (JobStatus.PENDING, JobStatus.PROCESSING, JobStatus.WAITING_FOR_DATA)


class FailureReason(StrEnum):
    """The first word of `failure_reason`; the subject and the date follow it."""

    PRICE_MISSING = "PRICE_MISSING"
    PRICE_TOO_OLD = "PRICE_TOO_OLD"
    CONTRACT_MULTIPLIER_MISSING = "CONTRACT_MULTIPLIER_MISSING"
    FX_MISSING = "FX_MISSING"
    OVERFLOW = "OVERFLOW"
    UNEXPECTED_ERROR = "UNEXPECTED_ERROR"

    @property
    def waits(self) -> bool:
        """Whether the arrival of data can heal it."""
        return self not in (FailureReason.OVERFLOW, FailureReason.UNEXPECTED_ERROR)


class Lane(StrEnum):
    """LIVE: the newest dates of positions that are otherwise current. HISTORY: backfills and corrections."""

    LIVE = "LIVE"
    HISTORY = "HISTORY"
