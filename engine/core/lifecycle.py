"""The states of a valuation job, and the reasons why one does not complete."""

from enum import StrEnum


class JobStatus(StrEnum):
    """PENDING -> PROCESSING -> any other.

    FAILED without a valuation -> PENDING by an operator. WAITING_FOR_DATA and FAILED ->
    SUPERSEDED when the dates without a value are due again under a new epoch.
    """

    PENDING = "PENDING"  # will be retried, not before a given time
    PROCESSING = "PROCESSING"  # belongs to a task
    COMPLETE = "COMPLETE"  # every due date of the range has its row
    SKIPPED_NO_POSITION = "SKIPPED_NO_POSITION"  # no date of the range is due
    WAITING_FOR_DATA = "WAITING_FOR_DATA"  # valued, but for dates that lack a price or rate
    FAILED = "FAILED"  # not valued, or not on every date; a dead letter records why
    SUPERSEDED = "SUPERSEDED"  # the position has a newer epoch


class FailureReason(StrEnum):
    """The first word of `failure_reason`; a security or currency pair and a date follow it."""

    PRICE_MISSING = "PRICE_MISSING"
    PRICE_TOO_OLD = "PRICE_TOO_OLD"
    CONTRACT_MULTIPLIER_MISSING = "CONTRACT_MULTIPLIER_MISSING"
    FX_MISSING = "FX_MISSING"
    OVERFLOW = "OVERFLOW"
    UNEXPECTED_ERROR = "UNEXPECTED_ERROR"

    @property
    def waits(self) -> bool:
        """Whether new data can resolve it."""
        return self not in (FailureReason.OVERFLOW, FailureReason.UNEXPECTED_ERROR)


class Lane(StrEnum):
    """LIVE: the newest dates of positions that are otherwise current.

    HISTORY: backfills and corrections.
    """

    LIVE = "LIVE"
    HISTORY = "HISTORY"
