"""A small model of the protocol, one position of it, and an exhaustive check: every order of steps,
every crash.

The model does what the engine's rooms do, statement by statement, over sets of dates. A change of
the protocol is made here first. `python -m tests.property.model --big` checks the large bound;
`--mutation NAME` shows how one fails.

Dates are bits of a mask. A value is the set of corrections that it was computed from, so a row is
right when it has those that are committed. Not modelled: time, and what a value is.
"""

import argparse
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from time import perf_counter
from typing import NamedTuple

RUNNING, FREE, WAITING, DEFERRED, COMPLETE = "running", "free", "waiting", "deferred", "complete"
# An attempt; FINISHING holds the locks of the jobs that it could mark.
BEGUN, READ, FINISHING = range(3)
# A scheduler: before its first recovery, in its loop, after a database error.
NEW, WORKING, DISTURBED = range(3)
# A trigger's cursor: not begun, begun and before our position, behind our position.
AHEAD, BEGUN_BEFORE, PASSED = range(3)


class Job(NamedTuple):
    number: int
    epoch: int
    dates: int
    status: str
    task: int
    valued: int


class Work(NamedTuple):
    """What an attempt has computed for a job: rows (date, value), and how far it got."""

    job: int
    epoch: int
    rows: tuple[tuple[int, int], ...]
    complete: bool
    valued: int


class Attempt(NamedTuple):
    task: int
    phase: int
    work: tuple[Work, ...]


class Scan(NamedTuple):
    """fresh: the position's revision is still the one that was scanned."""

    fresh: bool
    horizon: int
    due: int


class Scheduler(NamedTuple):
    """What one process holds in memory. held: (task, has it reported)."""

    term: int
    phase: int
    live: Scan | None
    history: Scan | None
    held: tuple[tuple[int, bool], ...]


class State(NamedTuple):
    # The data, and what the world may still do.
    prices: int  # price corrections that are committed
    facts: int  # version of the position's history
    horizon: int  # number of business dates
    closings: int  # of a date not yet scheduled
    faults: int
    # The position's row of position_state.
    epoch: int
    published: int
    history_epoch: int
    staged: int
    frontier: int
    pending: int
    open: int
    published_open: int
    # The other tables.
    triggers: tuple[tuple[int, int], ...]  # (dates, cursor)
    jobs: tuple[Job, ...]
    # For each date: (epoch, value), in the order of epochs.
    rows: tuple[tuple[tuple[int, int], ...], ...]
    term: int
    last_job: int
    last_task: int
    # The processes.
    attempts: tuple[Attempt, ...]
    schedulers: tuple[Scheduler, ...]


@dataclass(frozen=True)
class Bounds:
    """prices: the dates that each price correction reaches. late: the dates that have no price
    before it. positions: for each correction of the position, the dates that change and the dates
    that are open from then on. settled: it begins with the dates that are opened valued; otherwise
    with nothing."""

    dates: int = 3
    opened: int = 2
    open: int = 0b111
    prices: tuple[int, ...] = (0b010,)
    late: tuple[int, ...] = (0,)
    positions: tuple[tuple[int, int], ...] = ((0b110, 0b011),)
    faults: int = 1
    closings: int = 0
    settled: bool = True


MUTATIONS = {
    "job ids fence attempts": "finishing asks for the job's number only, "
    "not for its task and status",
    "no fence of attempts": "finishing asks whether the job is running, not whose it is",
    "no epochs at the end": "neither finishing nor applying asks for the epoch",
    "apply any epoch": "what was valued under an older epoch leaves pending",
    "apply the whole job": "a job that got part of the way is applied as if it were complete",
    "publish at once": "applying publishes though dates are pending",
    "publish when staged": "staging publishes the new epoch",
    "rows under the newest epoch": "rows are stored under the position's epoch, "
    "not under their job's",
    "fan out without raising": "dates come into pending under the epoch that has jobs in flight",
    "cursor before positions": "the trigger's cursor moves in a transaction before that of the "
    "positions",
    "correct without raising": "a position correction leaves the epoch",
    "trigger after the write": "the trigger of a price is a transaction of its own",
    "stage any revision": "a position is staged though it was changed since the scan",
    "stage keeps the revision": "two lanes that scanned a position both stage it",
    "stage a closed date": "a date that was closed again since the scan becomes the frontier",
    "status ignores triggers": "a position is called current while a queued trigger reaches it",
    "readers see the newest": "readers take the newest epoch, not the published one",
    "readers see what is open": "readers are cut to open_dates, not to published_open_dates",
    "no terms": "a scheduler does not ask whether its term is over",
    "recovery frees nothing": "attempts of the scheduler before are not released",
    "recovery applies nothing": "results that the scheduler before had not applied are left",
    "recovery forgets itself": "tasks that were created by a commit whose answer was lost are not "
    "released",
}
_FENCES = {
    "job ids fence attempts",
    "no fence of attempts",
    "finish any epoch",
    "no epochs at the end",
}
REDUNDANT = {
    "finish any epoch": "finishing does not ask for the epoch: applying does, "
    "and the rows stay under theirs",
}


class Violation(NamedTuple):
    invariant: str
    trace: tuple[str, ...]


@dataclass
class Checked:
    bounds: Bounds
    states: int = 0
    transitions: int = 0
    quiescent: int = 0
    depth: int = 0
    attempts_at_once: int = 0
    seconds: float = 0.0
    violation: Violation | None = None


def runs(dates: int) -> Iterator[int]:
    """The contiguous ranges of a set of dates."""
    while dates:
        low = dates & -dates
        top = dates + low
        run = dates & ~top
        yield run
        dates &= ~run


def bits(dates: int) -> Iterator[int]:
    while dates:
        low = dates & -dates
        yield low.bit_length() - 1
        dates &= ~low


@dataclass(frozen=True)
class Model:
    bounds: Bounds
    broken: frozenset[str] = field(default_factory=frozenset)

    # What the data says
    # --------------------------------------------------------------------------------------------

    def value(self, day: int, prices: int, facts: int) -> int | None:
        """What a date is worth by the data, None when a price is missing."""
        used = 0
        for number, reach in enumerate(self.bounds.prices):
            if self.bounds.late[number] >> day & 1 and not prices >> number & 1:
                return None
            if reach >> day & 1 and prices >> number & 1:
                used |= 1 << number
        for number, (changed, _) in enumerate(self.bounds.positions[:facts]):
            if changed >> day & 1:
                used |= 1 << (8 + number)
        return used

    def start(self) -> State:
        b = self.bounds
        frontier = b.opened if b.settled else 0
        rows = tuple(
            ((0, 0),) if day < frontier and b.open >> day & 1 else () for day in range(b.dates)
        )
        return State(
            prices=0, facts=0, horizon=b.opened, closings=b.closings, faults=b.faults, epoch=0,
            published=0, history_epoch=0, staged=0, frontier=frontier, pending=0, open=b.open,
            published_open=b.open, triggers=(), jobs=(), rows=rows, term=0, last_job=0,
            last_task=0, attempts=(), schedulers=(),
        )  # fmt: skip

    # The transitions
    # ----------------------------------------------------------------------------------------------

    def transitions(self, s: State) -> Iterator[tuple[str, bool, State]]:
        """Everything that can happen next: its name, whether the engine alone can be trusted to do
        it, what is then."""
        for name, trusted, then in self._transitions(s):
            yield name, trusted, self._normal(then)

    def _transitions(self, s: State) -> Iterator[tuple[str, bool, State]]:
        yield from self._world(s)
        for number, attempt in enumerate(s.attempts):
            yield from self._attempt(s, number, attempt)
        if not s.schedulers:
            yield "a scheduler begins", True, self._begin(s)
        elif s.faults and len(s.schedulers) == 1:
            yield (
                "a second scheduler takes over",
                False,
                self._begin(s._replace(faults=s.faults - 1)),
            )
        for number, scheduler in enumerate(s.schedulers):
            if scheduler.term != s.term and "no terms" not in self.broken:
                yield "a scheduler without its term stops", True, _without(s, number)
                continue
            if s.faults:
                died = _without(s, number)._replace(faults=s.faults - 1)
                yield "the scheduler dies", False, died
                started = tuple(a for a in s.attempts if a.phase != BEGUN)
                if started != s.attempts:
                    yield "the scheduler and its actors die", False, died._replace(attempts=started)
            yield from self._schedule(s, number, scheduler)

    def _world(self, s: State) -> Iterator[tuple[str, bool, State]]:
        b = self.bounds
        for number, reach in enumerate(b.prices):
            if not s.prices >> number & 1:
                written = s._replace(prices=s.prices | 1 << number)
                with_trigger = written._replace(
                    triggers=tuple(sorted((*s.triggers, (reach, AHEAD))))
                )
                yield f"price {number} is corrected", False, with_trigger
                if "trigger after the write" in self.broken:
                    yield f"price {number} is corrected, its writer dies", False, written
        if s.facts < len(b.positions):
            yield "the position is corrected", False, self._correct_position(s)
        if s.horizon < b.dates:
            yield "a date opens", False, s._replace(horizon=s.horizon + 1)
        if s.closings and s.horizon > max(s.frontier, 1):
            yield "a date closes", False, s._replace(horizon=s.horizon - 1, closings=s.closings - 1)

    def _correct_position(self, s: State) -> State:
        changed, opened = self.bounds.positions[s.facts]
        scheduled = (1 << s.frontier) - 1
        s = self._stale(s._replace(facts=s.facts + 1, open=opened))
        if not changed & scheduled:
            published_open = opened if s.published >= s.history_epoch else s.published_open
            return s._replace(published_open=published_open)
        epoch = s.epoch if "correct without raising" in self.broken else s.epoch + 1
        return s._replace(
            epoch=epoch, history_epoch=epoch, pending=s.pending | changed & scheduled & opened
        )

    # Step 4, in its three parts -------------------------------------------------------------------

    def _attempt(
        self, s: State, number: int, attempt: Attempt
    ) -> Iterator[tuple[str, bool, State]]:
        rest = s.attempts[:number] + s.attempts[number + 1 :]
        if s.faults:
            yield (
                f"task {attempt.task}'s actor dies",
                False,
                s._replace(attempts=rest, faults=s.faults - 1),
            )
        if attempt.phase == BEGUN:
            work = tuple(
                self._compute(s, job)
                for job in s.jobs
                if _own(job, attempt) and job.epoch == s.epoch
            )
            if work:
                yield (
                    f"task {attempt.task} reads",
                    True,
                    _with_attempt(s, number, Attempt(attempt.task, READ, work)),
                )
            else:
                yield (
                    f"task {attempt.task} finds nothing",
                    True,
                    _reported(s._replace(attempts=rest), attempt.task),
                )
        elif attempt.phase == READ:
            if any(_locked(s, work.job) for work in attempt.work):
                return  # it waits for the other's commit
            kept = tuple(work for work in attempt.work if self._may_finish(s, attempt, work))
            if kept:
                yield (
                    f"task {attempt.task} marks",
                    True,
                    _with_attempt(s, number, Attempt(attempt.task, FINISHING, kept)),
                )
            else:
                yield (
                    f"task {attempt.task} is fenced",
                    True,
                    _reported(s._replace(attempts=rest), attempt.task),
                )
        else:
            done = self._commit(s._replace(attempts=rest), attempt)
            yield f"task {attempt.task} commits", True, _reported(done, attempt.task)
            if s.faults:
                yield (
                    f"task {attempt.task} commits, its actor dies",
                    False,
                    done._replace(faults=s.faults - 1),
                )

    def _compute(self, s: State, job: Job) -> Work:
        rows = []
        valued = job.valued
        for day in bits(job.dates & ~job.valued):
            worth = self.value(day, s.prices, s.facts)
            if worth is None:
                return Work(job.number, job.epoch, tuple(rows), False, valued)
            if s.open >> day & 1:
                rows.append((day, worth))
            valued |= 1 << day
        return Work(job.number, job.epoch, tuple(rows), True, valued)

    def _may_finish(self, s: State, attempt: Attempt, work: Work) -> bool:
        job = next((job for job in s.jobs if job.number == work.job), None)
        if job is None:
            return False
        if "job ids fence attempts" in self.broken:
            return True
        its_own = job.task == attempt.task or "no fence of attempts" in self.broken
        in_time = job.epoch == s.epoch or self.broken & {"finish any epoch", "no epochs at the end"}
        return its_own and job.status == RUNNING and bool(in_time)

    def _commit(self, s: State, attempt: Attempt) -> State:
        rows, jobs = list(s.rows), list(s.jobs)
        for work in attempt.work:
            epoch = s.epoch if "rows under the newest epoch" in self.broken else work.epoch
            for day, worth in work.rows:
                rows[day] = tuple(sorted((*rows[day], (epoch, worth))))
            for number, job in enumerate(jobs):
                if job.number == work.job:
                    status = COMPLETE if work.complete else WAITING
                    jobs[number] = job._replace(status=status, valued=job.valued | work.valued)
        return s._replace(rows=tuple(rows), jobs=tuple(jobs))

    def _stale(self, s: State) -> State:
        """The position's revision is raised: staging what was scanned before does nothing, so it is
        forgotten at once."""

        def aged(scan: Scan | None) -> Scan | None:
            return scan and (
                scan._replace(fresh=False) if "stage any revision" in self.broken else None
            )

        return s._replace(
            schedulers=tuple(
                me._replace(live=aged(me.live), history=aged(me.history)) for me in s.schedulers
            )
        )

    # The scheduler's steps ---------------------------------------------------------------------

    def _begin(self, s: State) -> State:
        scheduler = Scheduler(s.term + 1, NEW, None, None, ())
        return s._replace(term=s.term + 1, schedulers=(*s.schedulers, scheduler))

    def _schedule(self, s: State, number: int, me: Scheduler) -> Iterator[tuple[str, bool, State]]:
        """Every transaction may also be committed without its answer being heard: then memory stays
        as it was."""
        if me.phase != WORKING:
            if not any(
                job.status == RUNNING and not _holds(me, job.task) and _locked(s, job.number)
                for job in s.jobs
            ):
                recovered = self._recover(s, me)
                yield "the scheduler recovers", True, _remember(recovered, number, me._replace(
                    phase=WORKING, live=None, history=None))  # fmt: skip
            return
        for name, trusted, then, memory in self._transactions(s, me):
            yield name, trusted, _remember(then, number, memory)
            if then.faults and trusted and name != "a lane is scanned":
                now = then.schedulers[number]
                deaf = _remember(
                    then._replace(faults=then.faults - 1), number, now._replace(phase=DISTURBED)
                )
                yield f"{name}, the answer is lost", False, deaf

    def _transactions(
        self, s: State, me: Scheduler
    ) -> Iterator[tuple[str, bool, State, Scheduler]]:
        yield from self._fan_out(s, me)
        unstaged = s.staged < s.epoch
        due = (
            ((1 << s.horizon) - 1) & ~((1 << s.frontier) - 1) | (s.pending if unstaged else 0)
        ) & s.open
        scan = Scan(True, s.horizon, due & ((1 << s.horizon) - 1))
        if me.live is None and not unstaged and 0 < s.frontier < s.horizon:
            yield "a lane is scanned", True, s, me._replace(live=scan)
        if me.history is None and (unstaged or s.frontier < s.horizon):
            yield "a lane is scanned", True, s, me._replace(history=scan)
        if me.live is not None:
            then, task = self._stage(s, me.live)
            yield (
                "the live lane is staged",
                True,
                then,
                _hold(_stale_of(me, then)._replace(live=None), task),
            )
        if me.history is not None:
            then, task = self._stage(s, me.history)
            yield (
                "history is staged",
                True,
                then,
                _hold(_stale_of(me, then)._replace(history=None), task),
            )
        due = [job for job in s.jobs if job.status == FREE]
        if due:
            yield "free jobs are retried", True, *self._retry(s, me, due)
        waiting = [job for job in s.jobs if job.status == DEFERRED]
        if waiting and s.faults:
            yield (
                "waiting jobs are looked at",
                False,
                *self._retry(s._replace(faults=s.faults - 1), me, waiting),
            )
        for task, reported in me.held:
            without = me._replace(held=tuple(h for h in me.held if h[0] != task))
            if reported:
                yield f"task {task} is applied", True, self._apply(s, task), without
                continue
            attempt = next((a for a in s.attempts if a.task == task), None)
            if any(_locked(s, job.number) for job in s.jobs if _own(job, (task,))):
                continue  # it would wait for the attempt's commit, or for its death
            if attempt is None or s.faults:
                lost = s if attempt is None else s._replace(faults=s.faults - 1)
                released = lost._replace(
                    jobs=tuple(_released(j) if _own(j, (task,)) else j for j in s.jobs)
                )
                yield (
                    f"task {task} is abandoned",
                    attempt is None,
                    self._apply(released, task),
                    without,
                )

    def _fan_out(self, s: State, me: Scheduler) -> Iterator[tuple[str, bool, State, Scheduler]]:
        if not s.triggers:
            return
        cursor = max(cursor for _, cursor in s.triggers)
        group = [dates for dates, at in s.triggers if at == cursor]
        others = tuple(t for t in s.triggers if t[1] != cursor)

        def at(cursor: int) -> tuple[tuple[int, int], ...]:
            return tuple(sorted((*others, *((dates, cursor) for dates in group))))

        me = me._replace(live=None, history=None)
        if cursor == PASSED:
            yield "fan out ends", True, s._replace(triggers=others), me
            return
        if cursor == AHEAD:
            yield (
                "fan out begins with other positions",
                True,
                s._replace(triggers=at(BEGUN_BEFORE)),
                me,
            )
        reach = 0
        for dates in group:
            reach |= dates
        raised = self._raise(s, reach & s.open & ((1 << s.frontier) - 1))
        yield "fan out, not the last page", True, raised._replace(triggers=at(PASSED)), me
        yield "fan out, the last page", True, raised._replace(triggers=others), me
        if "cursor before positions" in self.broken and s.faults:
            skipped = s._replace(triggers=at(PASSED), faults=s.faults - 1)
            yield "fan out dies after the cursor", False, skipped, me._replace(phase=DISTURBED)

    def _raise(self, s: State, reach: int) -> State:
        if not reach:
            return s
        if "fan out without raising" in self.broken:
            return self._stale(s._replace(pending=s.pending | reach))
        jobs = tuple(job for job in s.jobs if job.status not in (FREE, DEFERRED))
        return self._stale(s._replace(epoch=s.epoch + 1, pending=s.pending | reach, jobs=jobs))

    def _stage(self, s: State, scan: Scan) -> tuple[State, int | None]:
        if not scan.fresh and "stage any revision" not in self.broken:
            return s, None
        if scan.horizon > s.horizon and "stage a closed date" not in self.broken:
            return s, None
        pending = (s.pending if s.staged == s.epoch else 0) | scan.due
        ranges = list(runs(scan.due))
        jobs = tuple(
            Job(s.last_job + n, s.epoch, dates, RUNNING, s.last_task + 1, 0)
            for n, dates in enumerate(ranges, start=1)
        )
        published, published_open = s.published, s.published_open
        if not pending or "publish when staged" in self.broken:
            published, published_open = s.epoch, s.open
        s = s._replace(
            pending=pending,
            frontier=scan.horizon,
            staged=s.epoch,
            published=published,
            published_open=published_open,
        )
        if "stage keeps the revision" not in self.broken:
            s = self._stale(s)
        if not jobs:
            return s, None
        task = s.last_task + 1
        s = s._replace(jobs=s.jobs + jobs, last_job=s.last_job + len(jobs), last_task=task)
        return s._replace(attempts=(*s.attempts, Attempt(task, BEGUN, ()))), task

    def _retry(self, s: State, me: Scheduler, due: list[Job]) -> tuple[State, Scheduler]:
        task = s.last_task + 1
        jobs = tuple(
            job._replace(status=RUNNING, task=task) if job in due else job for job in s.jobs
        )
        s = s._replace(jobs=jobs, last_task=task, attempts=(*s.attempts, Attempt(task, BEGUN, ())))
        return s, _hold(me, task)

    def _apply(self, s: State, task: int) -> State:
        mine = [job for job in s.jobs if job.task == task]
        any_epoch = self.broken & {"apply any epoch", "no epochs at the end"}
        s = self._shrink(s, [job for job in mine if job.epoch == s.epoch or any_epoch])
        jobs = []
        for job in s.jobs:
            if job in mine and job.status != COMPLETE and job.epoch < s.epoch:
                continue  # superseded
            jobs.append(
                job._replace(status=DEFERRED) if job in mine and job.status == WAITING else job
            )
        return s._replace(jobs=tuple(jobs))

    def _shrink(self, s: State, jobs: list[Job]) -> State:
        valued = 0
        for job in jobs:
            valued |= (
                job.dates if job.valued and "apply the whole job" in self.broken else job.valued
            )
        if not valued:
            return s
        pending = s.pending & ~valued
        if pending and "publish at once" not in self.broken:
            return s._replace(pending=pending)
        return s._replace(pending=pending, published=s.epoch, published_open=s.open)

    def _recover(self, s: State, me: Scheduler) -> State:
        keeps = "recovery frees nothing" in self.broken or (
            me.phase == DISTURBED and "recovery forgets itself" in self.broken
        )
        jobs = []
        for job in s.jobs:
            if job.status == RUNNING and not _holds(me, job.task) and s.pending and not keeps:
                if job.epoch == s.epoch:
                    jobs.append(_released(job))
            else:
                jobs.append(job)
        s = s._replace(jobs=tuple(jobs))
        if s.pending and "recovery applies nothing" not in self.broken:
            s = self._shrink(s, [job for job in s.jobs if job.epoch == s.epoch])
        return s._replace(
            jobs=tuple(
                j._replace(status=DEFERRED) if j.status == WAITING and j.epoch == s.epoch else j
                for j in s.jobs
            )
        )

    def _normal(self, s: State) -> State:
        """The same state in its shortest form: without what no transition can look at again, and
        numbered from 1."""
        held = {task for me in s.schedulers for task, _ in me.held}
        jobs = tuple(
            job
            for job in s.jobs
            if job.status != COMPLETE
            or job.task in held
            or (job.epoch == s.epoch and job.dates & s.pending)
        )
        attempts, schedulers = s.attempts, s.schedulers
        if not self.broken & _FENCES:
            alive = {job.task for job in jobs if job.status == RUNNING and job.epoch == s.epoch}
            attempts = tuple(a for a in attempts if a.task in alive or a.phase == FINISHING)
            ended = {a.task for a in s.attempts} - {a.task for a in attempts}
            tasks = {job.task for job in jobs}
            schedulers = tuple(
                me._replace(held=tuple(
                    (task, reported or task in ended) for task, reported in me.held
                    if task in tasks or not (reported or task in ended)))
                for me in schedulers
            )  # fmt: skip
        rows = s.rows
        if any(len(of_day) > 1 and of_day[1][0] <= s.published for of_day in rows):
            rows = tuple(_still_seen(of_day, s.published) for of_day in rows)
        return _renumbered(
            s._replace(jobs=jobs, attempts=attempts, schedulers=schedulers, rows=rows)
        )

    # What has to hold -----------------------------------------------------------------------------

    def visible(self, s: State) -> dict[int, tuple[int, int]]:
        """What readers see: for each date the row of the greatest published epoch, where the
        published history is open."""
        newest = s.epoch if "readers see the newest" in self.broken else s.published
        cut = s.open if "readers see what is open" in self.broken else s.published_open
        seen = {}
        for day in bits(cut & ((1 << self.bounds.dates) - 1)):
            rows = [row for row in s.rows[day] if row[0] <= newest]
            if rows:
                seen[day] = rows[-1]
        return seen

    def is_called_current(self, s: State) -> bool:
        reached = any(dates & s.open & ((1 << s.frontier) - 1) for dates, _ in s.triggers)
        queued = reached and "status ignores triggers" not in self.broken
        return s.published == s.epoch and not queued and not s.pending and s.frontier == s.horizon

    def is_quiescent(self, s: State) -> bool:
        """Nothing can be done for the position: all is valued, or what is left waits for a
        price."""
        if s.triggers or s.staged < s.epoch or s.frontier != s.horizon:
            return False
        blocked = 0
        for job in s.jobs:
            left = job.dates & ~job.valued
            if job.epoch == s.epoch and job.status in (WAITING, DEFERRED) and left:
                first = (left & -left).bit_length() - 1
                if self.value(first, s.prices, s.facts) is None:
                    blocked |= left
        return not s.pending & ~blocked

    def wrong(self, s: State) -> str | None:
        """The invariant that a state breaks."""
        if s.published > s.epoch or s.staged > s.epoch or not s.frontier <= s.horizon:
            return "4 published_epoch <= epoch, frontier <= horizon"
        for rows in s.rows:
            if any(a[0] == b[0] for a, b in pairwise(rows)):
                return "7 nothing is stored twice"
        seen = self.visible(s)
        worth = [self.value(day, s.prices, s.facts) for day in range(self.bounds.dates)]
        if self.is_called_current(s):
            due = set(bits(s.open & ((1 << s.horizon) - 1)))
            if set(seen) != due or any(seen[day][1] != worth[day] for day in due):
                return "1 what is called current is what the data says"
        ahead = 0
        for dates, cursor in s.triggers:
            if cursor != PASSED:
                ahead |= dates
        if s.published == s.epoch:
            for day, row in seen.items():
                if row[1] != worth[day] and not ahead >> day & 1:
                    return "2 a visible row that is wrong has a queued trigger"
        for day in bits(s.open & ((1 << s.frontier) - 1) & ~s.pending):
            if not s.rows[day]:
                return "3 no hole before the frontier"
            if s.rows[day][-1][1] != worth[day] and not ahead >> day & 1:
                return "6 a correction that committed is never lost"
        return None

    def wrong_step(self, s: State, t: State) -> str | None:
        """The invariant that a transition breaks."""
        if t.epoch < s.epoch or t.published < s.published or t.frontier < s.frontier:
            return "4 epochs and the frontier never go down"
        gone = s.pending & ~t.pending
        if gone and t.epoch != s.epoch:
            return "5 a correction takes nothing out of pending"
        for day in bits(gone & t.open):
            if not any(row[0] == t.epoch for row in t.rows[day]):
                return "5 pending shrinks by what is committed under the epoch"
        if t.published == s.published and (
            t.rows is not s.rows
            or t.published_open != s.published_open
            or t.open != s.open
            or t.epoch != s.epoch
        ):
            before, after = self.visible(s), self.visible(t)
            if any(after.get(day) != row for day, row in before.items()):
                return "2 readers never see two histories mixed"
        return None


# Small changes of a state


def _still_seen(rows: tuple[tuple[int, int], ...], published: int) -> tuple[tuple[int, int], ...]:
    newest = max((epoch for epoch, _ in rows if epoch <= published), default=0)
    return tuple(row for row in rows if row[0] >= newest)


def _renumbered(s: State) -> State:
    jobs = {0: 0}
    tasks = {0: 0}
    for job in s.jobs:
        jobs.setdefault(job.number, len(jobs))
        tasks.setdefault(job.task, len(tasks))
    for attempt in s.attempts:
        tasks.setdefault(attempt.task, len(tasks))
        for work in attempt.work:
            jobs.setdefault(work.job, len(jobs))
    for me in s.schedulers:
        for task, _ in me.held:
            tasks.setdefault(task, len(tasks))
    if s.last_job == len(jobs) - 1 and s.last_task == len(tasks) - 1:
        return s
    return s._replace(
        jobs=tuple(job._replace(number=jobs[job.number], task=tasks[job.task]) for job in s.jobs),
        attempts=tuple(
            Attempt(
                tasks[a.task], a.phase, tuple(work._replace(job=jobs[work.job]) for work in a.work)
            )
            for a in s.attempts
        ),
        schedulers=tuple(
            me._replace(held=tuple((tasks[task], reported) for task, reported in me.held))
            for me in s.schedulers
        ),
        last_job=len(jobs) - 1,
        last_task=len(tasks) - 1,
    )


def _own(job: Job, attempt: Attempt | tuple[int]) -> bool:
    return job.task == attempt[0] and job.status == RUNNING


def _locked(s: State, number: int) -> bool:
    return any(
        a.phase == FINISHING and any(work.job == number for work in a.work) for a in s.attempts
    )


def _released(job: Job) -> Job:
    return job._replace(status=FREE, task=0)


def _with_attempt(s: State, number: int, attempt: Attempt) -> State:
    return s._replace(attempts=(*s.attempts[:number], attempt, *s.attempts[number + 1 :]))


def _reported(s: State, task: int) -> State:
    schedulers = tuple(
        me._replace(held=tuple((held, reported or held == task) for held, reported in me.held))
        for me in s.schedulers
    )
    return s._replace(schedulers=schedulers)


def _stale_of(me: Scheduler, then: State) -> Scheduler:
    """The scheduler's memory as the transaction has left it."""
    return next(other for other in then.schedulers if other.term == me.term)


def _hold(me: Scheduler, task: int | None) -> Scheduler:
    return me if task is None else me._replace(held=(*me.held, (task, False)))


def _holds(me: Scheduler, task: int) -> bool:
    return any(held == task for held, _ in me.held)


def _remember(s: State, number: int, memory: Scheduler) -> State:
    return s._replace(schedulers=(*s.schedulers[:number], memory, *s.schedulers[number + 1 :]))


def _without(s: State, number: int) -> State:
    return s._replace(schedulers=s.schedulers[:number] + s.schedulers[number + 1 :])


# The check


def check(
    bounds: Bounds, broken: frozenset[str] = frozenset(), *, most_states: int = 20_000_000
) -> Checked:
    """Walks through every state, breadth first: a violation's trace is a shortest one."""
    begun = perf_counter()
    model = Model(bounds, broken)
    found = Checked(bounds)
    first = model.start()
    numbers = {first: 0}
    frontier = [first]
    parents, names = array("q", [-1]), [""]
    edges = array("q")
    good = bytearray([model.is_quiescent(first)])

    def trace(number: int, last: str) -> tuple[str, ...]:
        steps = [last] if last else []
        while number > 0:
            steps.append(names[number])
            number = parents[number]
        return tuple(reversed(steps))

    def ended(invariant: str | None, number: int = 0, last: str = "") -> Checked:
        if invariant:
            found.violation = Violation(invariant, trace(number, last))
        found.states, found.quiescent, found.seconds = (
            len(numbers),
            quiescent,
            perf_counter() - begun,
        )
        return found

    quiescent = good[0]
    while frontier:
        found.depth += 1
        following = []
        for state in frontier:
            number = numbers[state]
            for name, trusted, then in model.transitions(state):
                found.transitions += 1
                at = numbers.get(then)
                if (invariant := model.wrong_step(state, then)) is not None:
                    return ended(invariant, number, name)
                if at is None:
                    if (invariant := model.wrong(then)) is not None:
                        return ended(invariant, number, name)
                    at = numbers[then] = len(numbers)
                    if at >= most_states:
                        raise MemoryError(f"more than {most_states:,} states")
                    parents.append(number)
                    names.append(sys.intern(name))
                    good.append(model.is_quiescent(then))
                    quiescent += good[at]
                    found.attempts_at_once = max(found.attempts_at_once, len(then.attempts))
                    following.append(then)
                if trusted:
                    edges.append(number)
                    edges.append(at)
        frontier = following
    _spread(good, edges)
    stuck = good.find(0)
    return (
        ended("8 the engine by itself always comes to rest", stuck) if stuck >= 0 else ended(None)
    )


def _spread(good: bytearray, edges: array) -> None:  # type: ignore[type-arg]
    """Marks every state from which a marked one can be reached. Most edges lead onward: few passes
    are needed."""
    changed = True
    while changed:
        changed = False
        for at in range(len(edges) - 2, -1, -2):
            if good[edges[at + 1]] and not good[edges[at]]:
                good[edges[at]] = changed = True


# A price, a position correction that closes the position, a roll, a date that closes again, a fault
# anywhere; then: the first valuation of a position whose last date has no price yet, with two
# faults.
SMALL = (
    Bounds(opened=3, positions=(), prices=(0b110,), late=(0b100,), faults=2, settled=False),
    Bounds(closings=1),
)
BIG = (
    Bounds(faults=2, closings=1),
    Bounds(settled=False),
    Bounds(
        prices=(0b010, 0b100), late=(0, 0), positions=((0b110, 0b011), (0b100, 0b111)), faults=0
    ),
)
RACES = (Bounds(faults=0),)


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks the protocol's model exhaustively.")
    parser.add_argument("--big", action="store_true", help="the large bounds")
    parser.add_argument(
        "--mutation", choices=[*MUTATIONS, *REDUNDANT], help="break the model in this way"
    )
    given = parser.parse_args()
    broken = frozenset([given.mutation] if given.mutation else [])
    worst = 0
    for bounds in BIG if given.big else SMALL:
        found = check(bounds, broken)
        print(
            f"{bounds}\n  {found.states:,} states, {found.transitions:,} transitions, "
            f"{found.quiescent:,} quiescent, "
            f"depth {found.depth}, up to {found.attempts_at_once} attempts at once, "
            f"{found.seconds:.0f} s"
        )
        if found.violation:
            worst = 1
            print(f"  VIOLATED: {found.violation.invariant}")
            print(
                "".join(
                    f"    {number}. {step}\n"
                    for number, step in enumerate(found.violation.trace, start=1)
                )
            )
        else:
            print("  no violation")
    return worst


if __name__ == "__main__":
    sys.exit(main())
