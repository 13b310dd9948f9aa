"""What the database does for the scheduler, in memory: the protocol for a handful of positions.

Each method is one transaction: it happens at once and as a whole. After each, `check` compares the
state with the invariants of docs/protocol.md. A date is a number; the price of a security on a date
is a version number, or missing; a row is right if it was computed from the newest version.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from revalue.engine.core.lifecycle import JobStatus, Lane
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.errors import TermLostError
from revalue.engine.fan_out.fan_out import FannedOut
from revalue.engine.leadership.term import Control
from revalue.engine.stage.outlook import Outlook
from revalue.engine.stage.scan import Among
from revalue.engine.stage.stage import Staged

_LIVE_DATES = 1
_MAX_ATTEMPTS = 3
_DONE = (JobStatus.COMPLETE, JobStatus.WAITING_FOR_DATA)
_ALONE_AFTER_DEATHS = 2


class Violation(AssertionError):
    """An invariant of the protocol does not hold."""


@dataclass
class Position:
    """One row of position_state. Dates at or before the frontier are scheduled."""

    number: int
    security: int
    epoch: int = 0
    revision: int = 0
    staged_epoch: int = -1
    frontier: int = -1
    pending: set[int] = field(default_factory=set)
    holes: set[int] = field(default_factory=set)
    published_epoch: int = -1
    published_holes: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Span:
    """One position of a job, with its dates; `holes` are those that were found to have no value."""

    position: int
    epoch: int
    dates: tuple[int, ...]
    holes: tuple[int, ...] = ()


@dataclass
class Job:
    """One row of portfolio_valuation_jobs: is_open as there."""

    number: int
    spans: tuple[Span, ...]
    lane: Lane
    status: JobStatus = JobStatus.PROCESSING
    task: int = 0
    attempts: int = 1
    deaths: int = 0
    is_open: bool = True


@dataclass
class Trigger:
    """A queued correction; `cursor` is the last position to which it has been fanned out."""

    security: int
    dates: frozenset[int]
    cursor: int = 0


@dataclass(frozen=True)
class Due:
    """What a scan found of one position."""

    position: int
    revision: int
    horizon: int
    dates: tuple[int, ...]


@dataclass(frozen=True)
class Page:
    """Stands for engine.stage.scan.Scan."""

    found: tuple[Due, ...]
    next_cursor: int | None

    @property
    def is_empty(self) -> bool:
        return not self.found


class Store:
    """The tables, and the transactions on them.

    Attributes:
        locked: positions that another session has locked.
        poisoned: positions whose valuation kills the process that does it.
        job_spans: a job has at most so many.
        ended: tasks that were reported and applied.
    """

    def __init__(self, securities: int, positions: int, job_spans: int = 1) -> None:
        self.job_spans = job_spans
        self.prices: dict[tuple[int, int], int] = {}
        self.securities = securities
        self.positions = {
            number: Position(number, number % securities) for number in range(1, positions + 1)
        }
        self.jobs: dict[int, Job] = {}
        self.deferred: dict[int, float] = {}
        self.noted: list[frozenset[int]] = [frozenset(self.positions)]  # unstaged_positions
        self.triggers: list[Trigger] = []
        self.rows: dict[tuple[int, int, int], int] = {}  # position, date, epoch: version
        self.horizon = -1
        self.term = 0
        self.paused = self.drain = False
        self.locked: set[int] = set()
        self.poisoned: set[int] = set()
        self.ended: set[int] = set()
        self._last_job = self._last_task = self._last_version = 0

    # What users write.

    def correct(self, security: int, dates: Iterable[int], *, missing: bool = False) -> None:
        """Write (or delete) the prices of a security on some dates, with a trigger."""
        self._last_version += 1
        dates = frozenset(dates)
        for date in dates:
            if missing:
                self.prices.pop((security, date), None)
            else:
                self.prices[security, date] = self._last_version
        self.triggers.append(Trigger(security, dates))

    def open(self) -> None:
        """Open the next date."""
        self.horizon += 1

    def correct_position(self, number: int, dates: Iterable[int]) -> None:
        """Make scheduled dates of a position due again under a new epoch, without a trigger."""
        position = self.positions[number]
        affected = {date for date in dates if date <= position.frontier}
        if affected:
            position.epoch += 1
            position.revision += 1
            position.holes -= affected
            position.pending |= affected
            for job in self.jobs.values():
                self._supersede_if_old(job)
            self.noted.append(frozenset([number]))

    def value_of(self, position: int, date: int) -> int | None:
        """The right value now; None: a price is missing."""
        return self.prices.get((self.positions[position].security, date))

    # What a scheduler does. `term` is its own.

    def begin_term(self) -> int:
        """Depose whoever leads; return the number of the new term."""
        self.term += 1
        self.drain = False
        return self.term

    def _require(self, term: int) -> None:
        if term != self.term:
            raise TermLostError(f"term {term} is over: {self.term} leads")

    def control(self, term: int) -> Control:
        self._require(term)
        return Control(self.paused, self.drain)

    def outlook(self, time: float) -> Outlook:
        return Outlook(
            has_triggers=bool(self.triggers),
            has_unstaged=bool(self.noted),
            calendars=str(self.horizon),
            retry_in=min(self.deferred.values()) - time if self.deferred else None,
        )

    def recover(
        self, term: int, known: Collection[int], left: Collection[int], time: float
    ) -> None:
        """Apply all that is finished but of `left`, and release the attempts not in `known`."""
        self._require(term)
        for job in self.jobs.values():
            if job.status is JobStatus.PROCESSING and job.task not in known:
                self._requeue(job, time)
        for job in list(self.jobs.values()):
            self._supersede_if_old(job)
            self._apply_job(job, left)
            if job.status is JobStatus.PENDING and job.number not in self.deferred:
                self.deferred[job.number] = time
        self.check()

    def _requeue(self, job: Job, time: float) -> None:
        job.task = 0
        job.attempts -= 1
        job.status = JobStatus.PENDING
        self.deferred[job.number] = time

    def _supersede_if_old(self, job: Job) -> bool:
        """End an unfinished job whose positions all have newer epochs; return whether it was."""
        is_old = all(self.positions[span.position].epoch > span.epoch for span in job.spans)
        is_unfinished = job.status in (JobStatus.PENDING, JobStatus.FAILED) or (
            job.status is JobStatus.PROCESSING and job.task in self.ended
        )
        if not (is_old and is_unfinished):
            return False
        job.status, job.is_open = JobStatus.SUPERSEDED, False
        self.deferred.pop(job.number, None)
        return True

    def unapplied(self, tasks: Collection[int] | None = None) -> set[int]:
        """The positions with finished jobs that are not applied; only of these tasks, if given."""
        return {
            span.position
            for job in self.jobs.values()
            if job.status in _DONE and job.is_open and (tasks is None or job.task in tasks)
            for span in job.spans
            if span.epoch == self.positions[span.position].epoch
        }

    def apply_left(self, term: int, left: Collection[int]) -> None:
        """Apply all that is finished but of `left`."""
        self._require(term)
        for job in list(self.jobs.values()):
            self._apply_job(job, left)
        self.check()

    def fan_out(self, term: int, *, max_positions: int, capacity: int) -> FannedOut | None:
        self._require(term)
        if not self.triggers:
            return None
        cursor = self.triggers[0].cursor
        together = [trigger for trigger in self.triggers if trigger.cursor == cursor]
        ahead = [
            position
            for position in self.positions.values()
            if position.number > cursor
            and any(trigger.security == position.security for trigger in together)
        ]
        page, finished = ahead[:max_positions], len(ahead) <= max_positions
        invalidated = superseded = 0
        staged: list[Span] = []
        for position in page:
            reached = frozenset[int]().union(
                *(each.dates for each in together if each.security == position.security)
            )
            affected = {date for date in reached if date <= position.frontier}
            if not affected:
                continue
            was_settled = not position.pending
            position.epoch += 1
            position.revision += 1
            position.holes -= affected
            position.pending |= affected
            invalidated += 1
            if was_settled and len(staged) < capacity * self.job_spans:
                position.staged_epoch = position.epoch
                staged.append(
                    Span(position.number, position.epoch, tuple(sorted(position.pending)))
                )
            else:
                self.noted.append(frozenset([position.number]))
        superseded = sum(self._supersede_if_old(job) for job in self.jobs.values())
        tasks = self._create(staged, Lane.HISTORY)
        for trigger in together:
            trigger.cursor = page[-1].number if page else cursor
        if finished:
            self.triggers = [each for each in self.triggers if each not in together]
        self.check()
        return FannedOut(
            len(together),
            finished,
            invalidated,
            len(staged),
            len(staged),
            superseded,
            (1,),
            tuple(tasks),
        )

    def _create(self, spans: Sequence[Span], lane: Lane) -> list[Task]:
        """Create jobs of a few spans each, in the order of positions."""
        for span in spans:
            for job in self.jobs.values():
                for other in job.spans if job.status is not JobStatus.SUPERSEDED else ():
                    if (other.position, other.epoch) == (span.position, span.epoch) and set(
                        other.dates
                    ) & set(span.dates):
                        raise Violation(f"{job} has {span} already")
        tasks = []
        for first in range(0, len(spans), self.job_spans):
            self._last_task += 1
            job = self._add(tuple(spans[first : first + self.job_spans]), lane)
            job.task = self._last_task
            tasks.append(self._task([job]))
        return tasks

    def _add(self, spans: tuple[Span, ...], lane: Lane) -> Job:
        self._last_job += 1
        job = self.jobs[self._last_job] = Job(self._last_job, spans, lane)
        return job

    def _task(self, jobs: Sequence[Job]) -> Task:
        positions = [span.position for job in jobs for span in job.spans]
        return Task(
            task_id=jobs[0].task,
            first_position_id=min(positions),
            last_position_id=max(positions),
            spans=len(positions),
            rows=sum(len(span.dates) for job in jobs for span in job.spans),
            lane=jobs[0].lane,
        )

    def is_live_held(self) -> bool:
        return any(
            max(trigger.dates, default=-1) > self.horizon - _LIVE_DATES for trigger in self.triggers
        )

    def _due(self, position: Position) -> set[int]:
        unstaged = position.pending if position.staged_epoch != position.epoch else set[int]()
        return unstaged | set(range(position.frontier + 1, self.horizon + 1))

    def _lane(self, position: Position) -> Lane:
        is_live = (
            position.staged_epoch == position.epoch
            and self.horizon - position.frontier <= _LIVE_DATES
            and position.frontier >= 0
        )
        return Lane.LIVE if is_live else Lane.HISTORY

    def scan(self, lane: Lane, cursor: int, *, page_positions: int, among: Among) -> Page:
        found = []
        for position in self.positions.values():
            if among is Among.UNSTAGED and not any(position.number in each for each in self.noted):
                continue
            due = self._due(position)
            if position.number > cursor and due and self._lane(position) is lane:
                found.append(
                    Due(position.number, position.revision, self.horizon, tuple(sorted(due)))
                )
        page = found[:page_positions]
        is_full = len(page) == page_positions
        return Page(tuple(page), page[-1].position if is_full else None)

    def stage(
        self, term: int, page: Page, lane: Lane, *, capacity: int, left: Collection[int]
    ) -> Staged:
        self._require(term)
        room = max(capacity * self.job_spans, 1)
        proposed, rest = page.found[:room], page.found[room:]
        spans: list[Span] = []
        count_left = 0
        for due in proposed:
            position = self.positions[due.position]
            if due.position in left:
                count_left += 1
                continue
            if position.revision != due.revision or self.horizon != due.horizon:
                continue
            before = set(position.pending)
            was_staged = position.staged_epoch == position.epoch
            position.pending |= set(due.dates)
            position.frontier = due.horizon
            position.staged_epoch = position.epoch
            position.revision += 1
            staged = position.pending - (before if was_staged else set())
            if staged:
                spans.append(Span(position.number, position.epoch, tuple(sorted(staged))))
        tasks = self._create(spans, lane)
        self.check()
        return Staged(
            tasks,
            len(proposed),
            len(spans),
            Page(rest, page.next_cursor) if rest else None,  # type: ignore[arg-type]
            count_left,
        )

    def forget_staged(self, term: int) -> None:
        self._require(term)
        self.noted = [
            entry for entry in self.noted if any(self._is_unstaged(number) for number in entry)
        ]
        self.check()

    def _is_unstaged(self, number: int) -> bool:
        position = self.positions[number]
        return position.staged_epoch != position.epoch or position.frontier < 0

    def retry_due(self, term: int, *, capacity: int, time: float) -> list[Task]:
        self._require(term)
        due_now = [number for number, due in self.deferred.items() if due <= time]
        for number in due_now:
            job = self.jobs[number]
            if job.deaths >= _ALONE_AFTER_DEATHS:
                for span in job.spans[1:]:
                    other = self._add((span,), job.lane)
                    other.status, other.task = job.status, 0
                    other.attempts, other.deaths = job.attempts, job.deaths
                    self.deferred[other.number] = time
                job.spans = job.spans[:1]
        tasks = []
        for number in due_now[:capacity]:
            del self.deferred[number]
            job = self.jobs[number]
            if job.status is not JobStatus.PENDING:
                continue
            self._last_task += 1
            job.status, job.task = JobStatus.PROCESSING, self._last_task
            job.attempts += 1
            tasks.append(self._task([job]))
        self.check()
        return tasks

    def apply(
        self, term: int, tasks: Collection[int], left: Collection[int], time: float
    ) -> set[int]:
        """Apply tasks; return those that are for positions in `left`."""
        self._require(term)
        self.ended |= set(tasks)
        incomplete = set()
        for job in list(self.jobs.values()):
            if job.task not in tasks:
                continue
            if self._supersede_if_old(job):
                continue
            if job.status is JobStatus.PENDING:
                self.deferred.setdefault(job.number, time + 2)
            elif not self._apply_job(job, left):
                incomplete.add(job.task)
        self.check()
        return incomplete

    def _apply_job(self, job: Job, left: Collection[int]) -> bool:
        """Apply a finished job but for the positions in `left`; return whether none was left."""
        if job.status not in _DONE or not job.is_open:
            return True
        is_whole = True
        for span in job.spans:
            position = self.positions[span.position]
            if span.epoch != position.epoch:
                continue
            if span.position in left:
                is_whole = False
                continue
            for date in span.dates:
                if date not in span.holes and (position.number, date, span.epoch) not in self.rows:
                    raise Violation(f"applied {job}, but {date} of {span} has no row")
            if not position.pending.intersection(span.dates):
                continue
            position.pending -= set(span.dates)
            position.holes |= set(span.holes)
            if not position.pending and position.staged_epoch == position.epoch:
                position.published_epoch = position.epoch
                position.published_holes = set(position.holes)
        job.is_open = not is_whole
        return is_whole

    def release(self, term: int, task: int, *, time: float, max_deaths: int | None) -> int:
        """Requeue what a task has not finished; return how many jobs have failed."""
        self._require(term)
        failed = 0
        for job in self.jobs.values():
            if job.task == task and job.status is JobStatus.PROCESSING:
                job.deaths += max_deaths is not None
                if max_deaths is not None and job.deaths >= max_deaths and len(job.spans) == 1:
                    job.status, job.task, job.is_open = JobStatus.FAILED, 0, False
                    failed += 1
                else:
                    self._requeue(job, time)
        self.check()
        return failed

    # What a valuation actor does.

    def read(self, task: Task) -> list[tuple[Job, Span, dict[int, int | None]]]:
        """The spans of the task's jobs, and the prices by date, in one snapshot."""
        return [
            (job, span, {date: self.value_of(span.position, date) for date in span.dates})
            for job in self.jobs.values()
            if job.task == task.task_id and job.status is JobStatus.PROCESSING
            for span in job.spans
            if span.epoch == self.positions[span.position].epoch
        ]

    def commit(self, task: Task, read: list[tuple[Job, Span, dict[int, int | None]]]) -> TaskResult:
        """Finish the spans that are still this attempt's, and write their rows.

        The complete spans of a job stay one job, each other span becomes one. What is not finished
        keeps the job.
        """
        statuses: dict[str, int] = {}
        rows = fenced = 0
        finished: dict[int, list[Span]] = {}
        for job, span, prices in read:
            is_own = job.task == task.task_id and job.status is JobStatus.PROCESSING
            if not is_own or span.epoch != self.positions[span.position].epoch:
                fenced += 1
                continue
            for date, version in prices.items():
                if version is None:
                    continue
                if (span.position, date, span.epoch) in self.rows:
                    raise Violation(f"{span} of {job}: {date} is stored twice")
                self.rows[span.position, date, span.epoch] = version
                rows += 1
            holes = tuple(date for date, version in prices.items() if version is None)
            finished.setdefault(job.number, []).append(replace(span, holes=holes))
        for number, spans in finished.items():
            job = self.jobs[number]
            whole = [span for span in spans if not span.holes]
            groups = ([tuple(whole)] if whole else []) + [(span,) for span in spans if span.holes]
            done = {span.position for span in spans}
            left = tuple(span for span in job.spans if span.position not in done)
            for place, group in enumerate(groups):
                into = self._add(group, job.lane) if left or place else job
                into.spans, into.task, into.attempts = group, job.task, job.attempts
                into.deaths = job.deaths
                status = JobStatus.WAITING_FOR_DATA if group[0].holes else JobStatus.COMPLETE
                into.status = status
                statuses[status.value] = statuses.get(status.value, 0) + len(group)
            if left:
                job.spans = left
        self.check()
        return TaskResult(task, len(read) - fenced, rows, fenced, statuses)

    # What must hold.

    def shown(self, position: int, date: int) -> int | None:
        """What readers see."""
        row = self.positions[position]
        if date in row.published_holes:
            return None
        return next(
            (
                self.rows[position, date, epoch]
                for epoch in range(row.published_epoch, -1, -1)
                if (position, date, epoch) in self.rows
            ),
            None,
        )

    def is_settled(self, position: Position) -> bool:
        """Whether the position is called CURRENT or WAITING_FOR_DATA."""
        return (
            position.published_epoch == position.epoch
            and not position.pending
            and position.frontier == self.horizon
            and not any(trigger.security == position.security for trigger in self.triggers)
        )

    def check(self) -> None:
        """Raise Violation unless the invariants hold."""
        noted = frozenset[int]().union(*self.noted)
        for position in self.positions.values():
            if self._is_unstaged(position.number) and position.number not in noted:
                raise Violation(f"{position} is not staged, and nothing says so")
            if position.published_epoch > position.epoch:
                raise Violation(f"{position}: a later epoch is published")
            if self.is_settled(position):
                for date in range(self.horizon + 1):
                    right, shown = (
                        self.value_of(position.number, date),
                        self.shown(position.number, date),
                    )
                    if right != shown:
                        raise Violation(
                            f"{position} is called finished: on {date} readers see {shown}, "
                            f"and {right} is right"
                        )

    def left_to_do(self) -> list[str]:
        """What a scheduler could do now or later without new data, in words."""
        left = [f"queued: {trigger}" for trigger in self.triggers]
        failed = {
            span.position
            for job in self.jobs.values()
            if job.status is JobStatus.FAILED
            for span in job.spans
        }
        left += [
            f"not finished: {position}"
            for position in self.positions.values()
            if not self.is_settled(position) and position.number not in failed
        ]
        left += [f"deferred: {self.jobs[number]}" for number in self.deferred]
        return left
