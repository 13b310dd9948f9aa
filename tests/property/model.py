"""A small model of the protocol for one position, and its exhaustive check.

The check visits every order of steps and every crash. The model does what the engine's packages do,
statement by statement, on sets of dates. Change the protocol here first. `python -m
tests.property.model --big` checks the large bounds; `--mutation NAME` shows how a broken model
fails.

Dates are bits of a mask. A value is the set of corrections that it was computed from, so a row is
correct if its set equals the committed corrections; a date that lacks a price has no value. Time
and the amounts are not modelled.
"""

import argparse
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from time import perf_counter
from typing import NamedTuple

RUNNING, FREE, DONE = "running", "free", "done"
# Phases of an attempt; FINISHING holds locks on the jobs that it has marked.
BEGUN, READ, FINISHING = range(3)
# Phases of a scheduler: before its first recovery, in its loop, after a database error; in its loop
# after a recovery that has left results unapplied, because somebody had locked the position.
NEW, WORKING, DISTURBED, LEAVING = range(4)
# A trigger's cursor: not started, before the modelled position, past it.
AHEAD, BEGUN_BEFORE, PASSED = range(3)
# What a lane knows of the calendars as they are: nothing; it has read their revisions before a pass
# over all positions; and that pass has found nothing.
UNKNOWN, MARKED, CLEAN = range(3)


class Job(NamedTuple):
    """A span of the modelled position in a job of many.

    The other spans are those of other positions: they are finished, released and tried again in the
    same transactions or in others, and change nothing of this one.
    holes: of one that is done, the dates that have no value.
    """

    number: int
    epoch: int
    dates: int
    status: str
    task: int
    holes: int


class Work(NamedTuple):
    """What an attempt has computed for a job.

    rows: pairs of date and value. holes: the dates that have none.
    """

    job: int
    epoch: int
    rows: tuple[tuple[int, int], ...]
    holes: int


class Attempt(NamedTuple):
    task: int
    phase: int
    work: tuple[Work, ...]


class Scan(NamedTuple):
    """fresh: whether the position still has the revision that was scanned."""

    fresh: bool
    horizon: int
    due: int


class Scheduler(NamedTuple):
    """The memory of one process.

    held: pairs of a task and whether it has reported. passes: of the live lane and of history, what
    it knows of the calendars; UNKNOWN unless the bounds have noting.
    """

    term: int
    phase: int
    live: Scan | None
    history: Scan | None
    held: tuple[tuple[int, bool], ...]
    passes: tuple[int, ...] = (UNKNOWN, UNKNOWN)


# Per date: pairs of epoch and value, in the order of epochs.
Rows = tuple[tuple[tuple[int, int], ...], ...]


class Floor(NamedTuple):
    """The retention floor: what readers saw when it was raised, which they are told for ever.

    later: pairs of date and epoch of the rows that were committed after it.
    """

    published: int
    seen: tuple[tuple[int, tuple[int, int]], ...]
    later: tuple[tuple[int, int], ...]


class Step(NamedTuple):
    """A step of maintenance that has read rows: all of the table, or all of the files.

    floor: the retention floor that it has read.
    """

    table: Rows
    files: tuple[Rows, ...]
    floor: Floor | None


class State(NamedTuple):
    # The data, and the changes that may still happen.
    prices: int  # mask of the price corrections that are committed
    facts: int  # version of the position's history
    missing: int  # mask of the dates that are not business days now
    horizon: int  # the calendar is opened through this many dates
    closings: int  # how often the opening may still be moved back
    removals: int  # how often a business day may still be taken out or put back
    faults: int  # how many faults may still happen
    # The position's row of position_state.
    epoch: int
    published: int
    history_epoch: int
    staged: int
    frontier: int
    pending: int
    holes: int
    withdrawn: int
    open: int
    published_open: int
    published_hidden: int
    # The other tables.
    noted: bool  # unstaged_positions covers the position; False unless the bounds have noting
    triggers: tuple[tuple[int, int, int], ...]  # (dates, dates taken out or closed, cursor)
    jobs: tuple[Job, ...]
    rows: Rows  # those in PostgreSQL
    term: int
    last_job: int
    last_task: int
    # The processes.
    attempts: tuple[Attempt, ...]
    schedulers: tuple[Scheduler, ...]
    # The lake: nothing unless the bounds have one.
    files: tuple[Rows, ...] = ()
    floor: Floor | None = None
    maintenance: Step | None = None


@dataclass(frozen=True)
class Bounds:
    """The data of one check, and how much may happen in it.

    Attributes:
        dates: number of dates; opened: of these, open at the start; open: dates of the position.
        prices: per price correction, the dates that it reaches.
        late: per price correction, the dates that have no price before it.
        gone: per price correction, the dates that have no price after it.
        positions: per correction of the position, the dates that change, and the dates that are
            open from then on.
        faults: how many may happen.
        closings: how often the opening may be moved back by a date.
        removals: how often the date `removable` may be taken out of the calendar or put back.
        settled: whether the opened dates are valued at the start.
        noting: whether it matters where a lane looks. Without, it can look at the position anytime.
        lake: attempts may store their rows as files, maintenance moves and merges rows, and the
            retention floor may be raised once.
    """

    dates: int = 3
    opened: int = 2
    open: int = 0b111
    prices: tuple[int, ...] = (0b010,)
    late: tuple[int, ...] = (0,)
    gone: tuple[int, ...] = (0,)
    positions: tuple[tuple[int, int], ...] = ((0b110, 0b011),)
    faults: int = 1
    closings: int = 0
    removals: int = 0
    removable: int = 1
    settled: bool = True
    noting: bool = False
    lake: bool = False


MUTATIONS = {
    "job ids fence attempts": "finishing checks the job's number only, not its task and status",
    "no epochs at the end": "neither finishing nor applying checks the epoch",
    "apply any epoch": "dates that were valued under an older epoch leave pending",
    "apply forgets holes": "a date without a value leaves pending as if it had one",
    "a hole blocks": "dates after the first one without a value are not valued",
    "a hole shows the old number": "readers see an older epoch's row on a date without a value",
    "a correction keeps the hole": "a correction does not make the dates that lack data due again",
    "closing keeps the frontier": "moving the opening back does not move the frontier",
    "withdrawn rows are shown": "readers see rows of dates that were closed or taken out",
    "what was withdrawn stays hidden": "a withdrawn date that is valued again is not shown",
    "publish at once": "applying publishes although dates are pending",
    "publish when staged": "staging publishes the new epoch",
    "rows under the newest epoch": "rows are stored under the position's epoch, "
    "not under their job's",
    "fan out without raising": "dates become pending under the epoch that has jobs in flight",
    "cursor before positions": "the trigger's cursor is advanced in a transaction before that "
    "of the positions",
    "correct without raising": "a position correction does not raise the epoch",
    "trigger after the write": "the trigger of a price is a transaction of its own",
    "stage any revision": "a position is staged although it has changed since the scan",
    "stage keeps the revision": "two lanes that have scanned a position both stage it",
    "stage an old calendar": "a calendar that was changed since the scan is staged",
    "status ignores triggers": "a position is called current while a queued trigger reaches it",
    "readers see the newest": "readers take the newest epoch, not the published one",
    "readers see what is open": "readers see open_dates, not published_open_dates",
    "no terms": "a scheduler does not check whether its term is over",
    "recovery frees nothing": "attempts of the previous scheduler are not released",
    "recovery applies nothing": "results that the previous scheduler had not applied are ignored",
    "recovery forgets itself": "tasks of a commit whose answer was lost are not released",
    "recovery forgets what it has left": "results of a position that was locked stay unapplied",
    "fan out notes nothing": "a position that a fan-out invalidates is not noted",
    "a correction notes nothing": "a position whose records are corrected is not noted",
    "noted is forgotten unseen": "the note of a position that is not staged is deleted",
    "what is noted is ignored": "history looks at no position while the calendars are the same",
    "a pass is never over": "a pass that found nothing counts after a change of the calendars",
    "a file is recorded by itself": "a file is recorded before the transaction of its jobs",
    "the table is read alone": "readers do not read files",
    "moved rows stay": "rows that are moved into a file stay in the table",
    "rows of meanwhile are deleted": "moving deletes rows that came after it has read",
    "files are replaced in two steps": "a maintenance takes files away before the merged one is "
    "there",
    "files of meanwhile are replaced": "merging takes away files that came after it has read",
    "what is not published replaces": "maintenance leaves out a row for the sake of a later one "
    "that is not published",
    "the floor is not asked": "maintenance leaves out rows that are still asked for as of the "
    "retention floor",
    "young files are swept": "a file that no transaction has recorded yet is deleted",
}
_READS = {"a lane is scanned", "a pass begins", "a pass ends"}  # nothing is committed
_FENCES = {
    "job ids fence attempts",
    "no fence of attempts",
    "finish any epoch",
    "no epochs at the end",
}
REDUNDANT = {
    "finish any epoch": "finishing does not check the epoch: applying does, "
    "and the rows stay under their own epoch",
    "no fence of attempts": "finishing checks that the job is running, not whose it is: "
    "a job commits once, with all of its dates",
    "later rows replace": "maintenance does not ask when a row was committed: an epoch gets no "
    "second row of a date that it shows",
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
    """Yield the contiguous ranges of a set of dates."""
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

    # The data -------------------------------------------------------------------------------------

    def value(self, day: int, prices: int, facts: int) -> int | None:
        """Return the value of a date according to the data; None if a price is missing."""
        used = 0
        for number, reach in enumerate(self.bounds.prices):
            corrected = prices >> number & 1
            if (self.bounds.gone if corrected else self.bounds.late)[number] >> day & 1:
                return None
            if reach >> day & 1 and corrected:
                used |= 1 << number
        for number, (changed, _) in enumerate(self.bounds.positions[:facts]):
            if changed >> day & 1:
                used |= 1 << (8 + number)
        return used

    def start(self) -> State:
        b = self.bounds
        frontier = b.opened if b.settled else 0
        worth = [self.value(day, 0, 0) for day in range(b.dates)]
        scheduled = [day for day in bits(b.open) if day < frontier]
        holes = sum(1 << day for day in scheduled if worth[day] is None)
        rows = tuple(
            ((0, worth[day] or 0),) if day in scheduled and worth[day] is not None else ()
            for day in range(b.dates)
        )
        return State(
            prices=0, facts=0, missing=0, horizon=b.opened, closings=b.closings,
            removals=b.removals, faults=b.faults, epoch=0, published=0, history_epoch=0, staged=0,
            frontier=frontier, pending=0, holes=holes, withdrawn=0, open=b.open,
            published_open=b.open, published_hidden=holes,
            noted=b.noting and not b.settled, triggers=(), jobs=(), rows=rows, term=0,
            last_job=0, last_task=0, attempts=(), schedulers=(),
        )  # fmt: skip

    # The transitions ------------------------------------------------------------------------------

    def transitions(self, s: State) -> Iterator[tuple[str, bool, State]]:
        """Yield all that can happen next: its name, whether the engine does it by itself (without a
        change of data or a fault), and the state after it."""
        for name, trusted, then in self._transitions(s):
            yield name, trusted, self._normal(then)

    def _transitions(self, s: State) -> Iterator[tuple[str, bool, State]]:
        yield from self._data_changes(s)
        if self.bounds.lake:
            yield from self._keep_lake(s)
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

    def _data_changes(self, s: State) -> Iterator[tuple[str, bool, State]]:
        b = self.bounds
        for number, reach in enumerate(b.prices):
            if not s.prices >> number & 1:
                written = s._replace(prices=s.prices | 1 << number)
                yield f"price {number} is corrected", False, _triggered(written, reach)
                if "trigger after the write" in self.broken:
                    yield f"price {number} is corrected, its writer dies", False, written
        if s.facts < len(b.positions):
            yield "the position is corrected", False, self._correct_position(s)
        if s.horizon < b.dates:
            yield "a date opens", False, self._new_calendar(s._replace(horizon=s.horizon + 1))
        if s.closings and s.horizon > 1:
            closed = s._replace(horizon=s.horizon - 1, closings=s.closings - 1)
            after = ((1 << b.dates) - 1) & ~((1 << closed.horizon) - 1)
            triggered = _triggered(closed, after, after)
            yield "the opening is moved back", False, self._new_calendar(triggered)
        if s.removals and s.horizon > b.removable:
            day = 1 << b.removable
            changed = s._replace(missing=s.missing ^ day, removals=s.removals - 1)
            taken = day if changed.missing else 0
            name = "a business day is taken out" if taken else "a business day is put back"
            yield name, False, self._new_calendar(_triggered(changed, day, taken))

    def _new_calendar(self, s: State) -> State:
        """Raise the calendar's revision: earlier scans cannot be staged, so they are forgotten, and
        no lane knows anything of the calendars any more."""
        if self.bounds.noting:
            s = s._replace(
                schedulers=tuple(
                    me._replace(passes=tuple(self._after(known) for known in me.passes))
                    for me in s.schedulers
                )
            )
        return s if "stage an old calendar" in self.broken else self._forget_scans(s)

    def _after(self, known: int) -> int:
        """Return what a lane knows after a change of the calendars."""
        is_kept = known == CLEAN and "a pass is never over" in self.broken
        return known if is_kept else UNKNOWN

    def _note(self, s: State, unless: str) -> State:
        return s._replace(noted=True) if self.bounds.noting and unless not in self.broken else s

    def _forget_scans(self, s: State) -> State:
        return s._replace(
            schedulers=tuple(me._replace(live=None, history=None) for me in s.schedulers)
        )

    def _correct_position(self, s: State) -> State:
        changed, opened = self.bounds.positions[s.facts]
        scheduled = (1 << s.frontier) - 1
        s = self._stale(s._replace(facts=s.facts + 1, open=opened))
        if not changed & scheduled:
            published_open = opened if s.published == s.epoch else s.published_open
            return s._replace(published_open=published_open)
        epoch = s.epoch if "correct without raising" in self.broken else s.epoch + 1
        return self._note(s, "a correction notes nothing")._replace(
            epoch=epoch,
            history_epoch=epoch,
            pending=(s.pending | changed & scheduled) & opened,
            holes=s.holes & ~changed & opened,
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
                return  # it waits for the commit of the other attempt
            kept = tuple(work for work in attempt.work if self._may_finish(s, attempt, work))
            if "young files are swept" in self.broken:
                lost = tuple(work._replace(rows=()) for work in attempt.work)
                then = _with_attempt(s, number, attempt._replace(work=lost))
                yield f"the file of task {attempt.task} is swept", True, then
            if "a file is recorded by itself" in self.broken:
                yield f"the file of task {attempt.task} is recorded", True, self._store(s, attempt)
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
            for in_file in (False, True) if self.bounds.lake else (False,):
                done = self._commit(s._replace(attempts=rest), attempt, in_file=in_file)
                name = f"task {attempt.task} commits{' a file' if in_file else ''}"
                yield name, True, _reported(done, attempt.task)
                if s.faults:
                    yield f"{name}, its actor dies", False, done._replace(faults=s.faults - 1)

    def _compute(self, s: State, job: Job) -> Work:
        rows, holes = [], 0
        for day in bits(job.dates & s.open & ~s.missing):
            worth = self.value(day, s.prices, s.facts)
            if worth is None or (holes and "a hole blocks" in self.broken):
                holes |= 1 << day
            else:
                rows.append((day, worth))
        return Work(job.number, job.epoch, tuple(rows), holes)

    def _may_finish(self, s: State, attempt: Attempt, work: Work) -> bool:
        job = next((job for job in s.jobs if job.number == work.job), None)
        if job is None:
            return False
        if "job ids fence attempts" in self.broken:
            return True
        its_own = job.task == attempt.task or "no fence of attempts" in self.broken
        in_time = job.epoch == s.epoch or self.broken & {"finish any epoch", "no epochs at the end"}
        return its_own and job.status == RUNNING and bool(in_time)

    def _commit(self, s: State, attempt: Attempt, *, in_file: bool) -> State:
        jobs = list(s.jobs)
        for work in attempt.work:
            for number, job in enumerate(jobs):
                if job.number == work.job:
                    jobs[number] = job._replace(status=DONE, holes=work.holes)
        s = self._store(s, attempt, in_file=in_file)
        return s._replace(jobs=tuple(jobs))

    def _store(self, s: State, attempt: Attempt, *, in_file: bool = True) -> State:
        """Add the rows of an attempt to the table, or as a file."""
        new: list[tuple[tuple[int, int], ...]] = [() for _ in s.rows]
        for work in attempt.work:
            epoch = s.epoch if "rows under the newest epoch" in self.broken else work.epoch
            for day, worth in work.rows:
                new[day] = (*new[day], (epoch, worth))
        if s.floor:
            added = {(day, row[0]) for day, of_day in enumerate(new) for row in of_day}
            later = tuple(sorted({*s.floor.later, *added}))
            s = s._replace(floor=s.floor._replace(later=later))
        if in_file:
            return s._replace(files=_files(s.files, tuple(new)))
        return s._replace(rows=_together((s.rows, tuple(new))))

    # The lake -------------------------------------------------------------------------------------

    def _keep_lake(self, s: State) -> Iterator[tuple[str, bool, State]]:
        """Yield the steps of maintenance. It can die at any time, and loses only what it has read.

        No step of the engine waits for it, so a state of rest may have one that has begun.
        """
        if s.floor is None:
            seen = tuple(sorted(self.visible(s).items()))
            raised = s._replace(floor=Floor(s.published, seen, ()))
            yield "the retention floor is raised", False, raised
        else:
            pruned = s._replace(rows=self._needed(s, s.rows, s.floor))
            if pruned != s:
                yield "superseded rows in the table are pruned", False, pruned
        if s.maintenance is not None:
            yield "maintenance dies", True, s._replace(maintenance=None)
            yield "maintenance commits", True, self._maintained(s, s.maintenance)
            return
        if any(s.rows):
            step = Step(s.rows, (), s.floor)
            yield "maintenance reads the table", False, s._replace(maintenance=step)
        merged = self._needed(s, _together(s.files), s.floor)
        if len(s.files) > 1 or (s.files and merged != s.files[0]):
            step = Step((), s.files, s.floor)
            yield "maintenance reads the files", False, s._replace(maintenance=step)
            if "files are replaced in two steps" in self.broken:
                yield "maintenance takes files away, and dies", True, s._replace(files=())

    def _maintained(self, s: State, step: Step) -> State:
        """Replace what a step has read, if all of it is still there."""
        s = s._replace(maintenance=None)
        if step.table:
            meanwhile = "rows of meanwhile are deleted" in self.broken
            if any(set(read) - set(now) for read, now in zip(step.table, s.rows, strict=True)):
                return s  # a prune has deleted some of them
            left = tuple(
                tuple(row for row in now if row not in read and not meanwhile)
                for read, now in zip(step.table, s.rows, strict=True)
            )
            if "moved rows stay" in self.broken:
                left = s.rows
            return s._replace(rows=left, files=_files(s.files, step.table))
        kept = [file for file in s.files if file not in step.files]
        if "files of meanwhile are replaced" in self.broken:
            kept = []
        merged = self._needed(s, _together(step.files), step.floor)
        return s._replace(files=_files(tuple(kept), merged))

    def _needed(self, s: State, rows: Rows, floor: Floor | None) -> Rows:
        """Return the rows without those that are beside a later one that was published and
        committed at the retention floor."""
        published = -1 if floor is None else floor.published
        if "the floor is not asked" in self.broken:
            published = s.published
        if "what is not published replaces" in self.broken:
            published = s.epoch
        known_later = floor.later if floor and "later rows replace" not in self.broken else ()
        return tuple(
            _from(
                of_day,
                max(
                    (
                        epoch
                        for epoch, _ in of_day
                        if epoch <= published and (day, epoch) not in known_later
                    ),
                    default=0,
                ),
            )
            for day, of_day in enumerate(rows)
        )

    def _stale(self, s: State) -> State:
        """Raise the position's revision: earlier scans cannot be staged, so they are forgotten."""

        def aged(scan: Scan | None) -> Scan | None:
            return scan and (
                scan._replace(fresh=False) if "stage any revision" in self.broken else None
            )

        return s._replace(
            schedulers=tuple(
                me._replace(live=aged(me.live), history=aged(me.history)) for me in s.schedulers
            )
        )

    # The scheduler's steps ------------------------------------------------------------------------

    def _begin(self, s: State) -> State:
        scheduler = Scheduler(s.term + 1, NEW, None, None, ())
        return s._replace(term=s.term + 1, schedulers=(*s.schedulers, scheduler))

    def _schedule(self, s: State, number: int, me: Scheduler) -> Iterator[tuple[str, bool, State]]:
        """Yield the scheduler's steps. Any commit's answer may be lost: then its memory stays as it
        was."""
        if me.phase in (NEW, DISTURBED):
            if not any(
                job.status == RUNNING and not _holds(me, job.task) and _locked(s, job.number)
                for job in s.jobs
            ):
                recovered = self._recover(s, me)
                me = me._replace(passes=(UNKNOWN, UNKNOWN))
                yield "the scheduler recovers", True, _remember(recovered, number, me._replace(
                    phase=WORKING, live=None, history=None))  # fmt: skip
                left = self._release_unknown(s, me)
                if left != recovered:
                    leaving = me._replace(phase=LEAVING, live=None, history=None)
                    then = _remember(left, number, leaving)
                    yield "the scheduler recovers, the position is locked", False, then
            return
        if me.phase == LEAVING:
            forgets = "recovery forgets what it has left" in self.broken
            applied = s if forgets else self._apply_unapplied(s)
            yield "what recovery has left is applied", True, _remember(applied, number, me._replace(
                phase=WORKING))  # fmt: skip
        for name, trusted, then, memory in self._transactions(s, me):
            yield name, trusted, _remember(then, number, memory)
            if then.faults and trusted and name not in _READS:
                now = then.schedulers[number]
                unheard = _remember(
                    then._replace(faults=then.faults - 1), number, now._replace(phase=DISTURBED)
                )
                yield f"{name}, the answer is lost", False, unheard

    def _transactions(
        self, s: State, me: Scheduler
    ) -> Iterator[tuple[str, bool, State, Scheduler]]:
        yield from self._fan_out(s, me)
        unstaged = s.staged < s.epoch and s.frontier <= s.horizon
        due = (
            (((1 << s.horizon) - 1) & ~((1 << s.frontier) - 1) | (s.pending if unstaged else 0))
            & s.open
            & ~s.missing
        )
        scan = Scan(True, s.horizon, due & ((1 << s.horizon) - 1))
        is_live = not unstaged and 0 < s.frontier < s.horizon
        is_history = unstaged or s.frontier < s.horizon
        if me.live is None and is_live and self._looks(s, me, 0):
            yield "a lane is scanned", True, s, me._replace(live=scan)
        if me.history is None and is_history and self._looks(s, me, 1):
            yield "a lane is scanned", True, s, me._replace(history=scan)
        if self.bounds.noting:
            yield from self._passes(s, me, (is_live, is_history))
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
        for task, reported in me.held:
            without = me._replace(held=tuple(h for h in me.held if h[0] != task))
            if reported:
                yield f"task {task} is applied", True, self._apply(s, task), without
                continue
            attempt = next((a for a in s.attempts if a.task == task), None)
            if any(_locked(s, job.number) for job in s.jobs if _own(job, (task,))):
                continue  # it would wait until the attempt commits or dies
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

    def _looks(self, s: State, me: Scheduler, lane: int) -> bool:
        """Whether a lane looks at the position."""
        is_noted = lane == 1 and s.noted and "what is noted is ignored" not in self.broken
        return not self.bounds.noting or me.passes[lane] != CLEAN or is_noted

    def _passes(
        self, s: State, me: Scheduler, due: tuple[bool, bool]
    ) -> Iterator[tuple[str, bool, State, Scheduler]]:
        """Yield the beginnings and ends of passes over all positions, and what history forgets."""
        for lane, is_due in enumerate(due):
            known = me.passes[lane]
            then = MARKED if known == UNKNOWN else CLEAN
            if known == UNKNOWN or (known == MARKED and not is_due):
                passes = (then, me.passes[1]) if lane == 0 else (me.passes[0], then)
                name = "a pass begins" if then == MARKED else "a pass ends"
                yield name, True, s, me._replace(passes=passes)
        is_staged = s.staged == s.epoch and s.frontier > 0
        if s.noted and (is_staged or "noted is forgotten unseen" in self.broken):
            yield "the note is deleted", True, s._replace(noted=False), me

    def _fan_out(self, s: State, me: Scheduler) -> Iterator[tuple[str, bool, State, Scheduler]]:
        if not s.triggers:
            return
        cursor = max(cursor for *_, cursor in s.triggers)
        group = [trigger for trigger in s.triggers if trigger[2] == cursor]
        others = tuple(t for t in s.triggers if t[2] != cursor)

        def at(cursor: int) -> tuple[tuple[int, int, int], ...]:
            return tuple(sorted((*others, *((dates, out, cursor) for dates, out, _ in group))))

        # A lane may be staging what it has scanned at this moment, so scans are not forgotten here:
        # the revisions alone keep an old one from being staged.
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
        reach = taken = 0
        for dates, out, _ in group:
            reach |= dates
            taken |= out
        raised = self._raise(s, reach, taken)
        then = raised._replace(triggers=at(PASSED))
        yield "fan out, not the last page", True, then, _stale_of(me, then)
        then = raised._replace(triggers=others)
        yield "fan out, the last page", True, then, _stale_of(me, then)
        if "cursor before positions" in self.broken and s.faults:
            skipped = s._replace(triggers=at(PASSED), faults=s.faults - 1)
            yield "fan out dies after the cursor", False, skipped, me._replace(phase=DISTURBED)

    def _raise(self, s: State, reach: int, taken: int) -> State:
        scheduled = (1 << s.frontier) - 1
        reached = reach & s.open & scheduled
        if not reached and not taken & scheduled:
            return s
        if "fan out without raising" in self.broken:
            return self._stale(s._replace(pending=s.pending | reached))
        frontier = s.frontier
        if taken and "closing keeps the frontier" not in self.broken:
            frontier = min(frontier, s.horizon)
        still = (1 << frontier) - 1
        jobs = tuple(job for job in s.jobs if job.status != FREE)
        holes = s.holes if "a correction keeps the hole" in self.broken else s.holes & ~reached
        s = self._note(s, "fan out notes nothing")
        return self._stale(
            s._replace(
                epoch=s.epoch + 1,
                frontier=frontier,
                pending=(s.pending | reached) & still,
                holes=holes & still,
                withdrawn=s.withdrawn | taken & scheduled | scheduled & ~still,
                jobs=jobs,
            )
        )

    def _stage(self, s: State, scan: Scan) -> tuple[State, int | None]:
        if not scan.fresh and "stage any revision" not in self.broken:
            return s, None
        pending = (s.pending if s.staged == s.epoch else 0) | scan.due
        ranges = list(runs(scan.due))
        jobs = tuple(
            Job(s.last_job + n, s.epoch, dates, RUNNING, s.last_task + 1, 0)
            for n, dates in enumerate(ranges, start=1)
        )
        s = s._replace(
            pending=pending,
            frontier=scan.horizon,
            staged=s.epoch,
        )
        if not pending or "publish when staged" in self.broken:
            s = self._publish(s)
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
            if job in mine and job.status != DONE and job.epoch < s.epoch:
                continue  # superseded
            jobs.append(job)
        return s._replace(jobs=tuple(jobs))

    def _shrink(self, s: State, jobs: list[Job]) -> State:
        done = [job for job in jobs if job.status == DONE]
        if not done:
            return s
        pending, holes, withdrawn = s.pending, s.holes, s.withdrawn
        for job in done:
            pending &= ~job.dates
            holes |= 0 if "apply forgets holes" in self.broken else job.holes
            if "what was withdrawn stays hidden" not in self.broken:
                withdrawn &= ~(job.dates & ~s.missing)
        s = s._replace(pending=pending, holes=holes, withdrawn=withdrawn)
        if pending and "publish at once" not in self.broken and s.published < s.epoch:
            return s
        return self._publish(s)

    def _publish(self, s: State) -> State:
        """Show the epoch."""
        holes = 0 if "a hole shows the old number" in self.broken else s.holes
        withdrawn = 0 if "withdrawn rows are shown" in self.broken else s.withdrawn
        return s._replace(
            published=s.epoch,
            published_open=s.open,
            published_hidden=holes | withdrawn,
        )

    def _recover(self, s: State, me: Scheduler) -> State:
        return self._apply_unapplied(self._release_unknown(s, me))

    def _apply_unapplied(self, s: State) -> State:
        if s.pending and "recovery applies nothing" not in self.broken:
            s = self._shrink(s, [job for job in s.jobs if job.epoch == s.epoch])
        return s

    def _release_unknown(self, s: State, me: Scheduler) -> State:
        keeps = "recovery frees nothing" in self.broken or (
            me.phase == DISTURBED and "recovery forgets itself" in self.broken
        )
        jobs = []
        for job in s.jobs:
            if job.status == RUNNING and not _holds(me, job.task) and not keeps:
                if job.epoch == s.epoch:
                    jobs.append(_released(job))
            else:
                jobs.append(job)
        return s._replace(jobs=tuple(jobs))

    def _normal(self, s: State) -> State:
        """Drop what no transition can read again, and number jobs and tasks from 1."""
        held = {task for me in s.schedulers for task, _ in me.held}
        jobs = tuple(
            job
            for job in s.jobs
            if job.status != DONE
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
        if not self.bounds.lake and any(
            len(of_day) > 1 and of_day[1][0] <= s.published for of_day in rows
        ):
            rows = tuple(_still_seen(of_day, s.published) for of_day in rows)
        return _renumbered(
            s._replace(jobs=jobs, attempts=attempts, schedulers=schedulers, rows=rows)
        )

    # The invariants -------------------------------------------------------------------------------

    def visible(self, s: State) -> dict[int, tuple[int, int]]:
        """Return what readers see: per open date of the published history, the row of the newest
        published epoch."""
        newest = s.epoch if "readers see the newest" in self.broken else s.published
        cut = s.open if "readers see what is open" in self.broken else s.published_open
        seen = {}
        cut &= ~s.published_hidden
        stored = self.stored(s)
        for day in bits(cut & ((1 << self.bounds.dates) - 1)):
            rows = [row for row in stored[day] if row[0] <= newest]
            if rows:
                seen[day] = rows[-1]
        return seen

    def stored(self, s: State) -> Rows:
        """Return the rows of both stores, as readers see them."""
        if not s.files or "the table is read alone" in self.broken:
            return s.rows
        return _together((s.rows, *s.files))

    def _still_told(self, s: State, floor: Floor) -> bool:
        """Whether readers as of the retention floor are told what they were told then."""
        stored = self.stored(s)
        for day, row in floor.seen:
            known = [
                each
                for each in stored[day]
                if each[0] <= floor.published and (day, each[0]) not in floor.later
            ]
            if not known or known[-1] != row:
                return False
        return True

    def is_reached(self, s: State) -> bool:
        scheduled = s.open & ((1 << s.frontier) - 1)
        reached = any(dates & scheduled for dates, *_ in s.triggers)
        return reached and "status ignores triggers" not in self.broken

    def is_finished(self, s: State) -> bool:
        """Whether the position is called CURRENT, or WAITING_FOR_DATA if it has holes."""
        return (
            s.published == s.epoch
            and not self.is_reached(s)
            and not s.pending
            and s.frontier == s.horizon
        )

    def is_quiescent(self, s: State) -> bool:
        """Whether nothing is left to do: every date is valued, or known to lack data."""
        return not s.triggers and s.staged == s.epoch and self.is_finished(s)

    def wrong(self, s: State) -> str | None:
        """Return the invariant that the state breaks, or None."""
        if s.published > s.epoch or s.staged > s.epoch:
            return "4 published_epoch and staged_epoch <= epoch"
        if s.frontier > s.horizon and not s.triggers:
            return "4 a frontier beyond the horizon has a queued trigger"
        scheduled = (1 << s.frontier) - 1
        if s.holes & (s.pending | ~scheduled) or s.holes & ~s.open:
            return "4 a hole is a scheduled, open date that is not pending"
        stored = self.stored(s)
        for rows in stored:
            if any(a[0] == b[0] for a, b in pairwise(rows)):
                return "7 nothing is stored twice"
        seen = self.visible(s)
        worth = [self.value(day, s.prices, s.facts) for day in range(self.bounds.dates)]
        if self.is_finished(s):
            due = set(bits(s.open & ~s.missing & ((1 << s.horizon) - 1)))
            lacking = {day for day in due if worth[day] is None}
            if lacking != set(bits(s.holes)):
                return "1 the holes of a finished position are the dates that lack data"
            if set(seen) != due - lacking or any(seen[day][1] != worth[day] for day in seen):
                return "1 what is called finished is what the data says"
        ahead = _ahead(s)
        if s.published == s.epoch:
            for day, row in seen.items():
                if row[1] != worth[day] and not ahead >> day & 1:
                    return "2 a visible row that is wrong has a queued trigger"
        for day in bits(s.holes):
            if worth[day] is not None and not ahead >> day & 1:
                return "6 a hole whose data is there has a queued trigger"
        for day in bits(s.open & scheduled & ~s.missing & ~s.pending & ~s.holes & ~ahead):
            if not stored[day]:
                return "3 no date without a row before the frontier"
            if stored[day][-1][1] != worth[day]:
                return "6 a correction that committed is never lost"
        if s.floor and not self._still_told(s, s.floor):
            return "2 what was known at the retention floor is still told"
        return None

    def wrong_step(self, s: State, t: State) -> str | None:
        """Return the invariant that the transition breaks, or None."""
        if t.epoch < s.epoch or t.published < s.published:
            return "4 epochs never go down"
        if t.frontier < s.frontier and t.epoch == s.epoch:
            return "4 the frontier goes down only under a new epoch"
        gone = s.pending & ~t.pending & t.open & ~t.missing
        if gone & ((1 << t.frontier) - 1) and t.epoch != s.epoch:
            return "5 a correction takes nothing out of pending"
        if t.epoch == s.epoch:
            if s.holes & ~t.holes:
                return "5 a hole ends only under a new epoch"
            stored = self.stored(t)
            for day in bits(gone & ~t.holes & ~_ahead(t)):
                if not any(row[0] == t.epoch for row in stored[day]):
                    return "5 pending shrinks by what is committed under the epoch"
        if t.published == s.published and (
            t.rows is not s.rows
            or t.files is not s.files
            or t.published_open != s.published_open
            or t.published_hidden != s.published_hidden
            or t.open != s.open
            or t.epoch != s.epoch
        ):
            before, after = self.visible(s), self.visible(t)
            if any(after.get(day) != row for day, row in before.items()):
                return "2 readers never see two histories mixed"
            if s.published == s.epoch:
                added = {day: row for day, row in after.items() if day not in before}
                if any(row[0] != t.epoch and s.withdrawn >> day & 1 for day, row in added.items()):
                    return "2 a withdrawn row is never seen again"
        return None


# Small changes of a state


def _still_seen(rows: tuple[tuple[int, int], ...], published: int) -> tuple[tuple[int, int], ...]:
    return _from(rows, max((epoch for epoch, _ in rows if epoch <= published), default=0))


def _from(rows: tuple[tuple[int, int], ...], least: int) -> tuple[tuple[int, int], ...]:
    return tuple(row for row in rows if row[0] >= least)


def _together(several: tuple[Rows, ...]) -> Rows:
    """Return the rows of several stores; one that is stored twice is there twice."""
    return tuple(
        tuple(sorted(row for rows in of_day for row in rows))
        for of_day in zip(*several, strict=True)
    )


def _files(files: tuple[Rows, ...], new: Rows) -> tuple[Rows, ...]:
    """Add a file; none without rows."""
    return tuple(sorted((*files, new))) if any(new) else files


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


def _ahead(s: State) -> int:
    """Return the dates of the triggers that have not reached the position yet."""
    ahead = 0
    for dates, _, cursor in s.triggers:
        if cursor != PASSED:
            ahead |= dates
    return ahead


def _triggered(s: State, dates: int, taken: int = 0) -> State:
    return s._replace(triggers=tuple(sorted((*s.triggers, (dates, taken, AHEAD)))))


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
    """Return the scheduler's memory after the transaction."""
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
    bounds: Bounds, broken: frozenset[str] = frozenset(), *, max_states: int = 20_000_000
) -> Checked:
    """Visit every state, breadth first, so that the trace of a violation is a shortest one.

    Raises:
        MemoryError: there are more than `max_states` states.
    """
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
                    if at >= max_states:
                        raise MemoryError(f"more than {max_states:,} states")
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
    _mark_leading_to(good, edges)
    stuck = good.find(0)
    return (
        ended("8 the engine by itself always comes to rest", stuck) if stuck >= 0 else ended(None)
    )


def _mark_leading_to(good: bytearray, edges: array) -> None:  # type: ignore[type-arg]
    """Mark every state from which a marked one can be reached.

    Backwards through the edges, few passes are enough: most lead to a state that was found later.
    """
    changed = True
    while changed:
        changed = False
        for at in range(len(edges) - 2, -1, -2):
            if good[edges[at + 1]] and not good[edges[at]]:
                good[edges[at]] = changed = True


# A date whose price comes late, two faults; an opening that is moved back; and with one fault
# anywhere: a business day that is taken out and put back; late data and a position correction that
# closes the position; a price that comes late and is deleted again.
SMALL = (
    Bounds(opened=3, positions=(), prices=(0b010,), late=(0b010,), faults=2, settled=False),
    Bounds(prices=(0b100,), positions=(), closings=1, faults=0),
    Bounds(opened=3, prices=(0b010,), positions=(), removals=2),
    Bounds(prices=(0b010,), late=(0b010,)),
    Bounds(prices=(0b010, 0b010), late=(0b010, 0), gone=(0, 0b010), positions=()),
    Bounds(dates=2, opened=1, open=0b11, positions=(), prices=(0b01,), noting=True, faults=0),
    Bounds(dates=2, open=0b11, positions=(), prices=(0b10,), noting=True, faults=0, closings=1),
    Bounds(
        dates=2,
        opened=1,
        open=0b11,
        positions=((0b01, 0b11),),
        prices=(),
        late=(),
        gone=(),
        noting=True,
        faults=0,
    ),
    Bounds(dates=2, opened=1, open=0b11, positions=(), prices=(0b01,), lake=True, faults=0),
    Bounds(dates=2, open=0b11, positions=(), removals=2, lake=True, faults=0, prices=()),
    Bounds(
        dates=2,
        open=0b11,
        prices=(0b10, 0b10),
        late=(0, 0),
        gone=(0b10, 0),
        positions=(),
        lake=True,
        faults=0,
    ),
)
BIG = (
    Bounds(prices=(0b100,), positions=(), closings=1),
    Bounds(prices=(0b100,), late=(0b100,), positions=((0b100, 0b011),), closings=1, faults=0),
    Bounds(faults=2),
    Bounds(settled=False, late=(0b010,)),
    Bounds(closings=1),
    Bounds(prices=(0b010,), positions=(), closings=1, removals=2),
    Bounds(
        prices=(0b010, 0b100), late=(0, 0b100), gone=(0b010, 0),
        positions=((0b110, 0b011), (0b100, 0b111)), faults=0,
    ),
    Bounds(dates=2, opened=1, open=0b11, positions=(), prices=(0b01,), noting=True),
    Bounds(dates=2, opened=1, open=0b11, positions=((0b01, 0b11),), prices=(0b01,), noting=True,
           faults=0),
    Bounds(dates=2, opened=1, open=0b11, positions=(), prices=(0b01,), lake=True),
    Bounds(dates=2, open=0b11, positions=(), prices=(0b01,), lake=True, faults=0, closings=1),
)  # fmt: skip
RACES = (Bounds(faults=0),)


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the protocol's model exhaustively.")
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
