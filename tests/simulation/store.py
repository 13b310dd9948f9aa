"""What the database does for the scheduler, in memory: the protocol for a handful of positions.

Each method is one transaction: it happens at once and as a whole. After each, `check` compares the
state with the invariants of docs/protocol.md. A date is a number; the price of a security on a date
is a version number, or missing; a row is right if it was computed from the newest version.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from revalue.engine.core.lifecycle import JobStatus, Lane
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.errors import TermLostError
from revalue.engine.fan_out.fan_out import FannedOut
from revalue.engine.leadership.term import Control
from revalue.engine.stage.outlook import Outlook
from revalue.engine.stage.stage import Among, Staged

_LIVE_DATES = 1
_MAX_ATTEMPTS = 3
_DONE = (JobStatus.COMPLETE, JobStatus.WAITING_FOR_DATA)


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


@dataclass
class Job:
    """One row of portfolio_valuation_jobs. A poison job kills each process that values it."""

    number: int
    position: int
    epoch: int
    dates: tuple[int, ...]
    lane: Lane
    status: JobStatus = JobStatus.PROCESSING
    task: int = 0
    attempts: int = 1
    deaths: int = 0
    holes: tuple[int, ...] = ()


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
    """Stands for engine.stage.stage.Scan."""

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
    """

    def __init__(self, securities: int, positions: int) -> None:
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
            self._supersede(position)
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
            if job.position not in left:
                self._apply_job(job)
            if job.status is JobStatus.PENDING and job.number not in self.deferred:
                self.deferred[job.number] = time
        self.check()

    def _requeue(self, job: Job, time: float) -> None:
        job.task = 0
        job.attempts -= 1
        if job.epoch == self.positions[job.position].epoch:
            job.status = JobStatus.PENDING
            self.deferred[job.number] = time
        else:
            job.status = JobStatus.SUPERSEDED

    def unapplied(self, tasks: Collection[int] | None = None) -> set[int]:
        """The positions with finished jobs that are not applied; only of these tasks, if given."""
        return {
            job.position
            for job in self.jobs.values()
            if job.status in _DONE
            and (tasks is None or job.task in tasks)
            and job.epoch == self.positions[job.position].epoch
            and self.positions[job.position].pending.intersection(job.dates)
        }

    def apply_left(self, term: int, positions: Collection[int]) -> None:
        self._require(term)
        for job in list(self.jobs.values()):
            if job.position in positions:
                self._apply_job(job)
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
        invalidated = staged = superseded = 0
        tasks: list[Task] = []
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
            superseded += self._supersede(position)
            if was_settled and len(tasks) < capacity:
                position.staged_epoch = position.epoch
                tasks.append(self._create(position, Lane.HISTORY))
                staged += 1
            else:
                self.noted.append(frozenset([position.number]))
        for trigger in together:
            trigger.cursor = page[-1].number if page else cursor
        if finished:
            self.triggers = [each for each in self.triggers if each not in together]
        self.check()
        return FannedOut(
            len(together), finished, invalidated, staged, staged, superseded, (1,), tuple(tasks)
        )

    def _supersede(self, position: Position) -> int:
        count = 0
        for job in self.jobs.values():
            is_open = job.status in (JobStatus.PENDING, JobStatus.FAILED)
            if job.position == position.number and is_open:
                job.status = JobStatus.SUPERSEDED
                self.deferred.pop(job.number, None)
                count += 1
        return count

    def _create(self, position: Position, lane: Lane) -> Task:
        self._last_job += 1
        self._last_task += 1
        job = Job(
            self._last_job,
            position.number,
            position.epoch,
            tuple(sorted(position.pending)),
            lane,
            task=self._last_task,
        )
        for other in self.jobs.values():
            if (
                other.position == job.position
                and other.epoch == job.epoch
                and other.status is not JobStatus.SUPERSEDED
                and set(other.dates) & set(job.dates)
            ):
                raise Violation(f"{other} and {job} are for the same dates")
        self.jobs[job.number] = job
        return self._task([job])

    def _task(self, jobs: Sequence[Job]) -> Task:
        return Task(
            task_id=jobs[0].task,
            first_job_id=jobs[0].number,
            last_job_id=jobs[-1].number,
            first_position_id=min(job.position for job in jobs),
            last_position_id=max(job.position for job in jobs),
            rows=sum(len(job.dates) for job in jobs),
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
        proposed, rest = page.found[: max(capacity, 1)], page.found[max(capacity, 1) :]
        tasks = []
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
            staged = Position(position.number, position.security, position.epoch)
            staged.pending = position.pending - (before if was_staged else set())
            if staged.pending:
                tasks.append(self._create(staged, lane))
        self.check()
        return Staged(
            tasks,
            len(proposed),
            len(tasks),
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
        tasks = []
        for number in [job for job, due in self.deferred.items() if due <= time][:capacity]:
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
        incomplete = set()
        for job in self.jobs.values():
            if job.task not in tasks:
                continue
            if job.status is JobStatus.PENDING:
                self.deferred.setdefault(job.number, time + 2)
            elif job.position in left:
                incomplete.add(job.task)
            else:
                self._apply_job(job)
        self.check()
        return incomplete

    def _apply_job(self, job: Job) -> None:
        position = self.positions[job.position]
        if job.status not in _DONE or job.epoch != position.epoch:
            return
        if not position.pending.intersection(job.dates):
            return
        for date in job.dates:
            if date not in job.holes and (position.number, date, job.epoch) not in self.rows:
                raise Violation(f"applied {job}, but {date} has no row")
        position.pending -= set(job.dates)
        position.holes |= set(job.holes)
        if not position.pending and position.staged_epoch == position.epoch:
            position.published_epoch = position.epoch
            position.published_holes = set(position.holes)

    def release(self, term: int, task: int, *, time: float, max_deaths: int | None) -> int:
        """Requeue what a task has not finished; return how many jobs have failed."""
        self._require(term)
        failed = 0
        for job in self.jobs.values():
            if job.task == task and job.status is JobStatus.PROCESSING:
                job.deaths += max_deaths is not None
                if max_deaths is not None and job.deaths >= max_deaths:
                    job.status, job.task = JobStatus.FAILED, 0
                    failed += 1
                else:
                    job.task, job.status = 0, JobStatus.PENDING
                    job.attempts -= 1
                    self.deferred[job.number] = time
        self.check()
        return failed

    # What a valuation actor does.

    def read(self, task: Task) -> list[tuple[Job, int, dict[int, int | None]]]:
        """The task's jobs, their epochs, and the prices by date, in one snapshot."""
        return [
            (job, job.epoch, {date: self.value_of(job.position, date) for date in job.dates})
            for job in self.jobs.values()
            if job.task == task.task_id
            and job.status is JobStatus.PROCESSING
            and job.epoch == self.positions[job.position].epoch
        ]

    def commit(self, task: Task, read: list[tuple[Job, int, dict[int, int | None]]]) -> TaskResult:
        """Finish the jobs that are still this attempt's, and write their rows."""
        statuses: dict[str, int] = {}
        rows = fenced = 0
        for job, epoch, prices in read:
            if job.task != task.task_id or job.status is not JobStatus.PROCESSING:
                fenced += 1
                continue
            if epoch != self.positions[job.position].epoch:
                job.status = JobStatus.SUPERSEDED
                fenced += 1
                continue
            for date, version in prices.items():
                if version is None:
                    continue
                if (job.position, date, epoch) in self.rows:
                    raise Violation(f"{job}: {date} is stored twice")
                self.rows[job.position, date, epoch] = version
                rows += 1
            job.holes = tuple(date for date, version in prices.items() if version is None)
            job.status = JobStatus.WAITING_FOR_DATA if job.holes else JobStatus.COMPLETE
            statuses[job.status.value] = statuses.get(job.status.value, 0) + 1
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
        failed = {job.position for job in self.jobs.values() if job.status is JobStatus.FAILED}
        left += [
            f"not finished: {position}"
            for position in self.positions.values()
            if not self.is_settled(position) and position.number not in failed
        ]
        left += [f"deferred: {self.jobs[number]}" for number in self.deferred]
        return left
