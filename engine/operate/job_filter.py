"""Which jobs a list is asked for: by state, portfolio and security, and behind which cursor."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.errors import UsageError

MAX_ID = 2**63 - 1
"""The greatest id of a job, a dead letter or a position."""


@dataclass(frozen=True)
class JobCursor:
    """Where a page of a list of jobs ends: the next one begins behind it.

    As text it is `4711` or `4711.42.2026-11-20`.

    Attributes:
        job_id: the last job of the page.
        position_id: the position of its last span in the page; None: all of the job was listed.
        first_date: the first date of this span.
    """

    job_id: int
    position_id: int | None = None
    first_date: date | None = None

    PATTERN = r"[0-9]{1,19}(\.[0-9]{1,19}\.[0-9]{4}-[0-9]{2}-[0-9]{2})?"

    def __str__(self) -> str:
        """Return the text of the cursor."""
        if self.position_id is None:
            return str(self.job_id)
        return f"{self.job_id}.{self.position_id}.{self.first_date}"

    @classmethod
    def parse(cls, text: str) -> "JobCursor":
        """Read the text of a cursor.

        Raises:
            UsageError: the text is not a cursor.
        """
        try:
            if not re.fullmatch(cls.PATTERN, text):
                raise ValueError
            job, *span = text.split(".")
            cursor = (
                cls(int(job), int(span[0]), date.fromisoformat(span[1])) if span else cls(int(job))
            )
        except ValueError:
            raise UsageError(f"{text!r} is not the `next` of a page of jobs") from None
        if max(cursor.job_id, cursor.position_id or 0) > MAX_ID:
            raise UsageError(f"{text!r} has a number that no job and no position can have")
        return cursor

    def with_ids(self, changed: Callable[[str, int], int]) -> "JobCursor":
        """Return this cursor with each id replaced by changed(field, id)."""
        return replace(
            self,
            job_id=changed("job_id", self.job_id),
            position_id=self.position_id and changed("position_id", self.position_id),
        )


@dataclass(frozen=True)
class JobFilter:
    """Which spans of jobs to list. A filter that is None does not apply.

    Attributes:
        status: only spans in this state. One of an unfinished job whose position has a newer epoch
            is SUPERSEDED.
        portfolio: only spans of this portfolio.
        portfolios: only spans of these portfolios.
        security: only spans of this security.
    """

    status: str | None = None
    portfolio: str | None = None
    portfolios: list[str] | None = None
    security: str | None = None

    def __post_init__(self) -> None:
        """Check the status.

        Raises:
            UsageError: there is no such status.
        """
        if self.status is not None and self.status not in set(JobStatus):
            raise UsageError(
                f"there is no job status {self.status!r}: give one of {', '.join(JobStatus)}"
            )

    @property
    def by_portfolio(self) -> bool:
        """Whether a span fits or not by its position."""
        return (self.portfolio, self.portfolios, self.security) != (None, None, None)
