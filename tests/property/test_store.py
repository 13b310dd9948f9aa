"""The engine's SQL under random orders of steps, drawn by hypothesis.

After each step the invariants are checked and the rows are compared with the reference valuation.
A scheduler's memory and the attempts of actors are plain lists here, so that a result can arrive
late, twice, or from a process that was abandoned. PROPERTY_EXAMPLES is the number of runs (25 in
CI) of up to 60 steps each.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import count
from typing import Any, ClassVar, TypeVar

import asyncpg
import polars as pl
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from revalue.console.reference.reference import compare, read_book
from revalue.engine.apply import apply
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.core.valuation import Valued, in_storage_order
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import TermLostError
from revalue.engine.fan_out import fan_out
from revalue.engine.lake.lake import Lake
from revalue.engine.lake.ownership import make_lake
from revalue.engine.leadership.term import Term
from revalue.engine.operate.prune import prune
from revalue.engine.operate.status import retry_jobs
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.database import Database, Isolation
from revalue.engine.postgres.statement import Connection
from revalue.engine.stage import stage
from revalue.engine.stage.scan import Among, Scan, scan_page
from revalue.engine.value.commit import OUTCOME_COLUMNS, SPAN_COLUMNS, Results, commit_results
from revalue.engine.value.computation import compute
from revalue.engine.value.inputs import read_inputs
from revalue.engine.value.stores import POSTGRESQL, LakeStore, SnapshotStore
from tests.conftest import drop_database, fresh_database, named
from tests.faults.checks import VIOLATIONS
from tests.integration.test_valuation import check
from tests.lake_rows import rows_in_tables
from tests.support import (
    IN_LAKE,
    dates,
    engine,
    examples,
    facts,
    open_days,
    own_lake,
    prices,
    weekdays,
)

T = TypeVar("T")

# "No hole" does not hold for a date that was just inserted into the calendar: it has a trigger, but
# no row yet.
INVARIANTS = {
    name: query for name, query in VIOLATIONS.items() if not name.startswith("no hole")
} | {
    "an open date that is not pending has a row": """
        SELECT p.portfolio_id, p.security_id, b.business_date
        FROM position_state p JOIN business_dates b ON b.business_date <= p.frontier_date
        WHERE p.open_dates @> b.business_date AND NOT p.pending @> b.business_date
          AND NOT p.holes @> b.business_date
          AND NOT EXISTS (SELECT FROM daily_position_snapshots s
                          WHERE s.position_id = p.position_id AND s.date = b.business_date)
          AND NOT EXISTS (SELECT FROM queued_positions q WHERE q.position_id = p.position_id)"""
}

EXAMPLES = examples(25)
STEPS = 60
MIN_STEPS = 40 * EXAMPLES

DAYS = weekdays(date(2024, 1, 1), 9)
LEFT_OUT = DAYS[2]  # not a business day at first
OPENED = 6
POSITIONS = [("P1", "A"), ("P1", "B"), ("P2", "A"), ("P2", "B"), ("P3", "A")]

DAY = st.sampled_from(DAYS[:8])
SECURITY = st.sampled_from(["A", "B"])
Position = tuple[str, str]
LOCKED = st.sampled_from([None, None, *POSITIONS])
PICK = st.integers(0, 11)  # selects one of the existing tasks or attempts
LANE = st.sampled_from(list(Lane))
LANES = st.sampled_from([(), (Lane.LIVE,), (Lane.HISTORY,), (Lane.LIVE, Lane.HISTORY)])


async def load_book(database: Database) -> None:
    """Load five positions in two securities and two base currencies.

    B has no price on its second day, and its prices are too old after one day.
    """
    opened = [day for day in DAYS[:OPENED] if day != LEFT_OUT]
    await open_days(database, opened)
    await load(database, Kind.BUSINESS_DATES, dates(DAYS[OPENED:]))
    await load(
        database,
        Kind.PORTFOLIOS,
        pl.DataFrame(
            {
                "portfolio_id": ["P1", "P2", "P3"],
                "base_currency": ["USD", "EUR", "USD"],
                "calendar_id": ["CAL"] * 3,
            }
        ),
    )
    await load(
        database,
        Kind.INSTRUMENTS,
        pl.DataFrame(
            {
                "security_id": ["A", "B"],
                "currency": ["USD", "EUR"],
                "max_price_age_sessions": [3, 1],
            }
        ),
    )
    rates = {"base_currency": ["EUR"] * 4, "quote_currency": ["USD"] * 4, "rate_date": DAYS[:7:2]}
    await load(
        database, Kind.FX_RATES, pl.DataFrame({**rates, "rate": ["1.1", "1.2", "1.3", "1.4"]})
    )
    await load(database, Kind.PRICES, prices("A", {DAYS[n]: f"{100 + n}" for n in (0, 3, 4)}))
    await load(
        database,
        Kind.PRICES,
        prices("B", {DAYS[n]: f"{50 + n}" for n in (0, 2, 4, 5)}, currency="EUR"),
    )
    await load(
        database,
        Kind.POSITIONS,
        pl.concat([facts(*position, {DAYS[0]: "10", DAYS[3]: "7"}) for position in POSITIONS[:4]]),
    )
    await load(database, Kind.POSITIONS, facts(*POSITIONS[4], {DAYS[1]: "2", DAYS[3]: "0"}))


@dataclass
class Memory:
    """What a scheduler keeps in the memory of its process.

    Attributes:
        scans: by lane, a page that was scanned and is not yet staged.
        held: tasks that it has started and not yet applied, by task id.
        left: positions that its recovery has left, because they were locked.
    """

    term: Term
    scans: dict[Lane, Scan | None] = field(
        default_factory=lambda: {Lane.LIVE: None, Lane.HISTORY: None}
    )
    cursors: dict[Lane, int] = field(default_factory=lambda: {Lane.LIVE: 0, Lane.HISTORY: 0})
    held: dict[int, Task] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)

    def forget_scans(self) -> None:
        self.scans = {Lane.LIVE: None, Lane.HISTORY: None}
        self.cursors = {Lane.LIVE: 0, Lane.HISTORY: 0}


@dataclass
class Attempt:
    """A task that an actor has read and computed. It may commit now, later, twice or never."""

    task: Task
    spans: pl.DataFrame
    valued: Valued


class Stopped(Exception):
    """A prune ends in its middle."""


class Interrupted(Database):
    """A database that calls `between` after a transaction's last write and before its commit."""

    def __init__(self, database: Database, between: Callable[[], Awaitable[object]]) -> None:
        super().__init__(database._pool, database.url)
        self._between = between

    @asynccontextmanager
    async def transaction(
        self,
        *,
        isolation: Isolation = "read_committed",
        readonly: bool = False,
        seconds: float | None = None,
    ) -> AsyncIterator[Connection]:
        async with super().transaction(
            isolation=isolation, readonly=readonly, seconds=seconds
        ) as connection:
            yield connection
            await self._between()


Seen = dict[tuple[str, str], tuple[int, dict[date, tuple[Any, ...]]]]
"""Per position: its published epoch, and what readers see per date."""


class Store(RuleBasedStateMachine):
    """One database, the scheduler that leads, those that were deposed, and all attempts so far."""

    server_url: str
    templates: dict[bool, str]
    steps: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.failed = False
        self.holders = count(1)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            return self.runner.run(coroutine)
        except BaseException:
            self.failed = True
            raise

    @initialize(valued=st.booleans())
    def begin(self, valued: bool) -> None:
        self.run(self._begin(valued))

    async def _begin(self, valued: bool) -> None:
        self.url = await fresh_database(self.server_url, self.templates[valued])
        self.database = await Database.open(self.url, connections=4)
        self.reader = ArrowReader(self.url)
        self.store: SnapshotStore = POSTGRESQL
        if IN_LAKE:
            await make_lake(self.database, await own_lake(self.database))
            async with self.database.connection() as connection:
                lake = await Lake.writable(connection)
            self.store = LakeStore(lake, least_rows=1)
        # Each statement is planned once: the plans of the views take more time than their rows.
        self.outside = await asyncpg.connect(
            self.url, server_settings={"plan_cache_mode": "force_generic_plan"}
        )
        self.me = Memory(await self._acquire())
        await apply.recover(self.me.term)
        self.deposed: list[Memory] = []
        self.attempts: list[Attempt] = []
        self.reported: dict[int, Task] = {}
        self.known: list[Task] = []
        self.seen: Seen = {}
        self.looks: dict[datetime, list[tuple[Any, ...]]] = {}
        self.epochs: dict[int, tuple[int, ...]] = {}

    async def _acquire(self) -> Term:
        return await Term.acquire(
            self.database, f"scheduler {next(self.holders)}", lease_seconds=60, take_over=True
        )

    async def write(self, statement: str, *values: object) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(statement, *values)

    # Changes of the data --------------------------------------------------------------------------

    @rule(security=SECURITY, day=DAY, price=st.sampled_from([None, 1, 2, 3]))
    def correct_price(self, security: str, day: date, price: int | None) -> None:
        """A price arrives, changes or is deleted."""
        self.run(self._correct_price(security, day, price))

    async def _correct_price(self, security: str, day: date, price: int | None) -> None:
        if price is None:
            await self.write(
                "DELETE FROM market_prices WHERE security_id = $1 AND price_date = $2",
                security,
                day,
            )
            return
        currency = {"A": "USD", "B": "EUR"}[security]
        await self.write(
            """INSERT INTO market_prices VALUES ($1, $2, $3, $4, 'PER_UNIT')
               ON CONFLICT (security_id, price_date) DO UPDATE SET price = excluded.price""",
            security, day, price, currency,
        )  # fmt: skip

    @rule(day=DAY, rate=st.sampled_from([None, 1, 2]))
    def correct_rate(self, day: date, rate: int | None) -> None:
        if rate is None:
            self.run(self.write("DELETE FROM fx_rates WHERE rate_date = $1", day))
            return
        self.run(
            self.write(
                """INSERT INTO fx_rates VALUES ('EUR', 'USD', $1, $2)
                   ON CONFLICT (base_currency, quote_currency, rate_date) DO UPDATE
                       SET rate = excluded.rate""",
                day, rate,
            )
        )  # fmt: skip

    @rule(
        position=st.sampled_from(POSITIONS),
        day=DAY,
        quantity=st.sampled_from(["0", "0", "3", "-4"]),
        replace=st.booleans(),
    )
    def correct_position(
        self, position: tuple[str, str], day: date, quantity: str, replace: bool
    ) -> None:
        """Change, close (0) or reopen a position; with `replace` its later records go."""
        self.run(
            load(self.database, Kind.POSITIONS, facts(*position, {day: quantity}), replace=replace)
        )

    @rule(scanned=LANES)
    def open_next_date(self, scanned: tuple[Lane, ...]) -> None:
        """Both lanes may have scanned the date before either stages it."""
        self.run(
            self.write(
                """UPDATE calendars SET opened_through = later.day
                   FROM (SELECT min(business_date) AS day
                         FROM business_dates JOIN calendars USING (calendar_id)
                         WHERE business_date > opened_through) AS later
                   WHERE later.day IS NOT NULL"""
            )
        )
        for lane in scanned:
            self.scan_lane(lane)

    @rule(day=st.sampled_from(DAYS), is_removed=st.booleans())
    def change_a_business_day(self, day: date, is_removed: bool) -> None:
        """A business day comes or goes: among the opened ones a correction, later on nothing."""
        self.run(self._change_a_business_day(day, is_removed))

    async def _change_a_business_day(self, day: date, is_removed: bool) -> None:
        queued = "SELECT max(trigger_id) FROM reprocessing_triggers"
        opened, before, triggers = await self.outside.fetchrow(
            f"""SELECT opened_through, (SELECT count(*) FROM business_dates
                                        WHERE business_date < opened_through), ({queued})
                FROM calendars"""
        )
        if is_removed and day == opened and not before:
            return
        await self.write(
            "DELETE FROM business_dates WHERE business_date = $1"
            if is_removed
            else "INSERT INTO business_dates VALUES ('CAL', $1) ON CONFLICT DO NOTHING",
            day,
        )
        if day > opened:
            assert await self.outside.fetchval(queued) == triggers

    @rule(scanned=LANES)
    def move_the_opening_back(self, scanned: tuple[Lane, ...]) -> None:
        """The last opened day is closed again, although positions may be valued on it."""
        for lane in scanned:
            self.scan_lane(lane)
        self.run(
            self.write(
                """UPDATE calendars SET opened_through = earlier.day
                   FROM (SELECT max(business_date) AS day
                         FROM business_dates JOIN calendars USING (calendar_id)
                         WHERE business_date < opened_through) AS earlier
                   WHERE earlier.day IS NOT NULL"""
            )
        )

    @rule()
    def an_operator_retries(self) -> None:
        """Holes are due again, whether or not their data are there."""
        self.run(self._retry_holes())

    async def _retry_holes(self) -> None:
        jobs = await self.outside.fetch("SELECT DISTINCT job_id FROM current_holes")
        retried = await retry_jobs(self.database, [job for (job,) in jobs])
        assert sorted(retried) == sorted(job for (job,) in jobs)

    @rule(pick=PICK, steps=st.sampled_from([1, 3, 5, 100]))
    def prune(self, pick: int, steps: int) -> None:
        """The past is forgotten up to a look at it; the prune may be stopped half-way."""
        if self.looks:
            self.run(self._prune(sorted(self.looks)[-1 - pick % len(self.looks)], steps))

    async def _prune(self, floor: datetime, steps: int) -> None:
        done = count(1)

        def stop_half_way(_: object) -> None:
            if next(done) >= steps:
                raise Stopped

        with suppress(Stopped):
            await prune(self.database, before=floor, on_progress=stop_half_way)
        [[floor]] = await self.outside.fetch("SELECT floor FROM retention")
        self.looks = {moment: seen for moment, seen in self.looks.items() if moment >= floor}

    # The scheduler that leads ---------------------------------------------------------------------

    @rule(
        max_positions=st.sampled_from([1, 2, 100]),
        capacity_rows=st.sampled_from([0, 1, 4, 1000]),
        task_rows=st.sampled_from([1, 100]),
        is_heard=st.sampled_from("yyyn"),
    )
    def fan_out(
        self, max_positions: int, capacity_rows: int, task_rows: int, is_heard: str
    ) -> None:
        """Up to the capacity, the statement that invalidates positions also stages them."""
        self.run(self._fan_out(max_positions, capacity_rows, task_rows, is_heard == "y"))

    async def _fan_out(
        self,
        max_positions: int = 100,
        capacity_rows: int = 1000,
        task_rows: int = 100,
        is_heard: bool = True,
    ) -> bool:
        capacity = fan_out.Capacity(self.reader, capacity_rows, task_rows)
        step = await fan_out.fan_out(self.me.term, max_positions=max_positions, capacity=capacity)
        if step is None:
            return False
        self.me.forget_scans()
        if is_heard:
            self._take(list(step.tasks))
        else:
            await apply.recover(self.me.term, list(self.me.held.values()))
        return True

    @rule(lanes=LANES, page_positions=st.sampled_from([2, 100]), is_noted=st.booleans())
    def scan(self, lanes: tuple[Lane, ...], page_positions: int, is_noted: bool) -> None:
        """Scan a page and keep it until it is staged, as the loop does at its capacity."""
        for lane in lanes:
            among = Among.UNSTAGED if is_noted and lane is Lane.HISTORY else Among.ALL
            self.scan_lane(lane, page_positions, among)

    def scan_lane(
        self, lane: Lane, page_positions: int = 100, among: Among = Among.ALL
    ) -> Scan | None:
        me = self.me
        if me.scans[lane] is not None:
            return me.scans[lane]
        scanned = scan_page(
            self.reader,
            lane,
            me.cursors[lane],
            page_positions=page_positions,
            live_business_days=5,
            among=among,
        )
        if scanned.positions.is_empty():
            me.cursors[lane] = 0
            return None
        me.scans[lane] = scanned
        return scanned

    @rule()
    def forget_staged(self) -> None:
        """At any time: what is not staged stays noted."""
        self.run(stage.forget_staged(self.me.term))

    @precondition(lambda self: any(self.me.scans.values()))
    @rule(
        lane=LANE,
        task_rows=st.sampled_from([1, 4, 100]),
        capacity_rows=st.sampled_from([1, 8, 1000]),
        is_heard=st.sampled_from("yyyn"),
        starts=st.booleans(),
    )
    def stage(
        self, lane: Lane, task_rows: int, capacity_rows: int, is_heard: str, starts: bool
    ) -> None:
        """Stage a page; actors may start with its tasks at once.

        Unless `is_heard`, the commit's answer is lost: nobody knows the tasks until the next
        recovery.
        """
        lane = (
            lane
            if self.me.scans[lane] is not None
            else next(lane for lane in Lane if self.me.scans[lane] is not None)
        )
        self.run(self._stage(lane, task_rows, capacity_rows, is_heard == "y"))
        for task in list(self.me.held.values()) if starts else []:
            self._read(task)

    async def _stage(
        self, lane: Lane, task_rows: int = 1000, capacity_rows: int = 1000, is_heard: bool = True
    ) -> int:
        me = self.me
        scanned = me.scans[lane]
        assert scanned is not None
        staged = await stage.stage(
            me.term, scanned, lane, task_rows=task_rows, capacity_rows=capacity_rows
        )
        if not is_heard:
            await apply.recover(me.term, list(me.held.values()))
            return 0
        me.scans[lane] = staged.rest
        if staged.rest is None:
            me.cursors[lane] = scanned.next_cursor or 0
        self._take(staged.tasks)
        return staged.spans

    @rule(
        page_positions=st.sampled_from([2, 100]),
        task_rows=st.sampled_from([1, 4, 100]),
        capacity_rows=st.sampled_from([1, 8, 1000]),
        business_days=st.sampled_from([1, 2, 3]),
        is_heard=st.sampled_from("yyyn"),
    )
    def stage_newest(
        self,
        page_positions: int,
        task_rows: int,
        capacity_rows: int,
        business_days: int,
        is_heard: str,
    ) -> None:
        """Stage newest days without a scan, also of positions that a kept scan has found."""
        self.run(
            self._stage_newest(
                is_heard == "y",
                page_positions=page_positions,
                task_rows=task_rows,
                capacity_rows=capacity_rows,
                live_business_days=business_days,
            )
        )

    async def _stage_newest(self, is_heard: bool, **how: int) -> None:
        staged = await stage.stage_newest(self.me.term, 0, **how)
        if is_heard:
            self._take(staged.tasks)
        else:
            await apply.recover(self.me.term, list(self.me.held.values()))

    def _take(self, tasks: list[Task]) -> None:
        self.me.held |= {task.task_id: task for task in tasks}
        self.known += tasks

    @rule(task_rows=st.sampled_from([1, 100]), capacity=st.sampled_from([1, 2, 50]))
    def retry(self, task_rows: int, capacity: int) -> None:
        self.run(self._retry(task_rows, capacity))

    async def _retry(self, task_rows: int = 100, capacity: int = 50) -> int:
        tasks = await apply.retry_due(
            self.me.term, max_jobs=50, task_rows=task_rows, capacity=capacity
        )
        assert len(tasks) <= capacity
        self._take(tasks)
        return len(tasks)

    @precondition(lambda self: self.me.held.keys() & self.reported.keys())
    @rule(pick=PICK, locked=LOCKED)
    def apply(self, pick: int, locked: Position | None) -> None:
        ready = sorted(self.me.held.keys() & self.reported.keys())
        self.run(self._apply([ready[pick % len(ready)]], locked))

    async def _apply(self, numbers: list[int], locked: Position | None = None) -> None:
        async with self._locking(locked):
            left = await apply.apply(
                self.me.term,
                [self.me.held[number] for number in numbers],
                retry_seconds=0,
                leave_locked=locked is not None,
            )
        assert locked or not left
        for number in numbers:
            if self.me.held[number] not in left:
                del self.me.held[number]

    @asynccontextmanager
    async def _locking(self, locked: Position | None) -> AsyncIterator[None]:
        """Lock a position, as somebody's load that hangs does."""
        async with self.database.transaction() as connection:
            if locked is not None:
                await connection.execute(
                    "SELECT FROM position_state WHERE (portfolio_id, security_id) = ($1, $2) "
                    "FOR UPDATE",
                    *locked,
                )
            yield

    @precondition(lambda self: self.me.left)
    @rule(locked=LOCKED)
    def apply_what_recovery_has_left(self, locked: Position | None) -> None:
        self.run(self._apply_left(locked))

    async def _apply_left(self, locked: Position | None = None) -> None:
        async with self._locking(locked):
            self.me.left = await apply.apply_left(self.me.term, self.me.left)
        assert locked or not self.me.left

    @precondition(lambda self: set(self.reported) - set(self.me.held))
    @rule(pick=PICK)
    def apply_again(self, pick: int) -> None:
        """Apply a result that was applied before, by any scheduler: nothing changes."""
        done = sorted(self.reported.keys() - self.me.held.keys())
        task = self.reported[done[pick % len(done)]]
        self.run(self._apply_again(task))

    async def _apply_again(self, task: Task) -> None:
        positions = (
            "SELECT p.*, (SELECT count(*) FROM daily_position_snapshots) "
            "FROM position_state p ORDER BY position_id"
        )
        before = await self.outside.fetch(positions)
        held = await self.outside.fetchval(
            "SELECT count(*) FROM job_spans j JOIN position_state p USING (position_id, epoch) "
            "WHERE task_id = $1 AND valued_through IS NOT NULL "
            "AND p.pending && datemultirange(daterange(first_date, last_date, '[]'))",
            task.task_id,
        )
        await apply.apply(self.me.term, [task], retry_seconds=0)
        assert held or await self.outside.fetch(positions) == before

    @precondition(lambda self: self.me.held)
    @rule(pick=PICK, is_retried=st.booleans())
    def abandon(self, pick: int, is_retried: bool) -> None:
        """Consider the actor dead. It may have committed, or commit when another has its jobs."""
        numbers = sorted(self.me.held)
        self.run(self._abandon(numbers[pick % len(numbers)]))
        if is_retried:
            self.run(self._retry())

    async def _abandon(self, number: int) -> None:
        await apply.release(self.me.term, self.me.held[number], retry_seconds=0, reason="abandoned")
        del self.me.held[number]

    @rule(locked=LOCKED)
    def a_second_scheduler_takes_over(self, locked: Position | None) -> None:
        self.run(self._take_over(locked))

    async def _take_over(self, locked: Position | None = None) -> None:
        self.deposed.append(self.me)
        self.me = Memory(await self._acquire())
        async with self._locking(locked):
            self.me.left = await apply.recover(self.me.term, leave_locked=locked is not None)

    @precondition(lambda self: self.deposed)
    @rule(
        pick=PICK,
        step=st.sampled_from(
            ["fan out", "stage", "retry", "apply", "release", "recover", "heartbeat"]
        ),
    )
    def a_deposed_scheduler_goes_on(self, pick: int, step: str) -> None:
        """Its first transaction raises TermLostError, and writes nothing."""
        self.run(self._go_on(self.deposed[pick % len(self.deposed)], step))

    async def _go_on(self, old: Memory, step: str) -> None:
        task = next(iter(old.held.values()), Task(0, 0, 0, 0, 0, Lane.HISTORY))
        scanned = next((scan for scan in old.scans.values() if scan), None)
        with pytest.raises(TermLostError):
            match step:
                case "stage" if scanned:
                    await stage.stage(
                        old.term, scanned, Lane.HISTORY, task_rows=100, capacity_rows=100
                    )
                case "retry":
                    await apply.retry_due(old.term, max_jobs=50, task_rows=100, capacity=50)
                case "apply":
                    await apply.apply(old.term, [task], retry_seconds=0)
                case "release":
                    await apply.release(old.term, task, retry_seconds=0, reason="zombie")
                case "recover":
                    await apply.recover(old.term)
                case "heartbeat":
                    await old.term.heartbeat()
                case _:
                    await fan_out.fan_out(old.term)

    # Actors ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.known)
    @rule(pick=PICK, part=st.sampled_from(["all", "all", "first", "rest"]))
    def read(self, pick: int, part: str) -> None:
        """Read one of the last tasks, whether or not a scheduler still holds it.

        Or a part of it, as an attempt does that has to isolate a position.
        """
        latest = self.known[-6:]
        task = latest[pick % len(latest)]
        if part == "first":
            task = replace(task, last_position_id=task.first_position_id)
        elif part == "rest":
            task = replace(task, first_position_id=task.first_position_id + 1)
        self._read(task)

    def _read(self, task: Task) -> Attempt | None:
        inputs = read_inputs(self.reader, task)
        if inputs is None:
            self._report(task)
            return None
        attempt = Attempt(task, inputs.spans, compute(inputs, max_attempts=3))
        self.attempts.append(attempt)
        return attempt

    @precondition(lambda self: self.attempts)
    @rule(pick=PICK)
    def commit(self, pick: int) -> None:
        """Commit one of the last attempts: for the first time, again, or after it was abandoned."""
        latest = self.attempts[-6:]
        self.run(self._commit(latest[-1 - pick % len(latest)]))

    async def _commit(self, attempt: Attempt, database: Database | None = None) -> None:
        rows, spans = in_storage_order(attempt.valued.rows), attempt.spans
        its_own = {
            tuple(row)
            for row in await self.outside.fetch(
                """SELECT job_id, position_id, first_date FROM job_spans
                   JOIN position_state USING (position_id, epoch)
                   WHERE task_id = $1 AND status = 'PROCESSING'""",
                attempt.task.task_id,
            )
        }
        keys = spans.select("job_id", "position_id", "first_date").iter_rows()
        own = [place for place, key in enumerate(keys) if key in its_own]
        fenced, written = await commit_results(
            database or self.database,
            attempt.task,
            Results(
                spans.select(SPAN_COLUMNS),
                rows,
                attempt.valued.holes,
                attempt.valued.outcomes.select(OUTCOME_COLUMNS),
            ),
            store=self.store,
        )
        kept = rows.filter(pl.col("span_no").is_in(own)) if len(rows) else rows
        assert (fenced, written) == (len(spans) - len(own), len(kept)), (
            "exactly the spans that are not the attempt's own are fenced"
        )
        self._report(attempt.task)

    def _report(self, task: Task) -> None:
        """An actor reports a whole task, not a part of one."""
        if task in self.known:
            self.reported[task.task_id] = task

    @precondition(lambda self: self.attempts)
    @rule(pick=PICK, security=SECURITY, day=DAY, price=st.integers(6, 9))
    def commit_across_a_correction(self, pick: int, security: str, day: date, price: int) -> None:
        """A correction raises the epoch, and is staged, after the attempt has marked its jobs and
        before it commits."""

        async def between() -> None:
            await self._correct_price(security, day, price)
            while await self._fan_out():
                pass
            if self.scan_lane(Lane.HISTORY):
                await self._stage(Lane.HISTORY)

        latest = self.attempts[-6:]
        self.run(self._commit(latest[-1 - pick % len(latest)], Interrupted(self.database, between)))

    @rule(fans_out=st.booleans())
    def turn(self, fans_out: bool) -> None:
        """Take a whole turn without faults, so that runs make progress.

        Unless it `fans_out`, the last corrections have just missed it.
        """
        self.run(self._turn(fans_out))

    async def _turn(self, fans_out: bool = True) -> bool:
        me, worked = self.me, False
        if me.left:
            await self._apply_left()
            worked = True
        while fans_out and await self._fan_out():
            worked = True
        for lane in Lane:
            if self.scan_lane(lane) is not None:
                worked = await self._stage(lane) > 0 or worked
        worked = await self._retry() > 0 or worked
        for task in list(me.held.values()):
            if task.task_id not in self.reported and (attempt := self._read(task)) is not None:
                await self._commit(attempt)
        if me.held:
            await self._apply(list(me.held))
        return worked

    # The invariants -------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        self.run(self._holds())

    async def _holds(self) -> None:
        Store.steps["steps"] += 1
        async with self.outside.transaction(isolation="repeatable_read"):
            for name, query in INVARIANTS.items():
                assert await self._fetch(query) == [], name
            await self._epochs_rise()
            await self._readers_see_one_history()
            await self._what_is_seen_has_a_moment()
            await self._current_is_right()

    async def _fetch(self, query: str) -> list[Any]:
        """Ask about snapshots, wherever they are stored."""
        async with rows_in_tables(self.outside, query):
            return await self.outside.fetch(query)

    async def _epochs_rise(self) -> None:
        rows = await self.outside.fetch(
            "SELECT position_id, epoch, published_epoch, "
            "COALESCE(frontier_date - DATE '2024-01-01', -1) FROM position_state"
        )
        for position, *now in rows:
            before = self.epochs.get(position, (0, 0, -1))
            assert now[0] >= before[0], (position, before, now)
            assert now[1] >= before[1], (position, before, now)
            assert now[2] >= before[2] or now[0] > before[0], "a frontier back in its epoch"
            self.epochs[position] = tuple(now)

    async def _readers_see_one_history(self) -> None:
        """Visible rows of a position do not change until a later epoch is published. Dates that
        were never visible may be added."""
        seen: Seen = {}
        for row in await self.outside.fetch(
            "SELECT portfolio_id, security_id, published_epoch FROM position_state"
        ):
            seen[row[0], row[1]] = (row[2], {})
        for portfolio, security, day, *values in await self._fetch(
            "SELECT portfolio_id, security_id, date, epoch, quantity, price, fx_rate, market_value "
            "FROM position_valuations"
        ):
            assert day not in seen[portfolio, security][1], "two rows of one date"
            seen[portfolio, security][1][day] = tuple(values)
        for position, (published, rows) in self.seen.items():
            if seen[position][0] == published:
                changed = {
                    day: (row, seen[position][1].get(day))
                    for day, row in rows.items()
                    if seen[position][1].get(day) != row
                }
                assert not changed, f"{position} under epoch {published}: {changed}"
        self.seen = seen

    async def _current_is_right(self) -> None:
        """No row called current contradicts the data. A CURRENT position lacks no row, and one that
        waits for data lacks exactly its holes."""
        finished, others = [], []
        for row in await self.outside.fetch(
            "SELECT portfolio_id, security_id, state FROM position_status "
            "WHERE reprocessing_status = 'CURRENT'"
        ):
            done = row["state"] in ("CURRENT", "WAITING_FOR_DATA")
            (finished if done else others).append((row[0], row[1]))
        if not finished and not others:
            return
        book = await read_book(self.outside)
        whole = await compare(self.outside, book, positions=finished)
        assert whole.agrees, "\n".join(whole.examples)
        waiting = await self.outside.fetch(
            "SELECT portfolio_id, security_id, failure_reason FROM position_status "
            "WHERE NOT isempty(holes) AND state = 'WAITING_FOR_DATA' "
            "AND reprocessing_status = 'CURRENT'"
        )
        assert {(row[0], row[1]): row[2] for row in waiting} == {
            position: hole.reason for position, hole in whole.holes.items()
        }
        part = await compare(self.outside, book, positions=others)
        assert not part.disagreements and not part.extra, "\n".join(part.examples)  # noqa: PT018

    async def _look(self, known_at: datetime | None) -> list[tuple[Any, ...]]:
        """Return what readers are told of every position, now or at a past time."""
        return [
            tuple(row)
            for row in await self.outside.fetch(
                """SELECT position_id, published_epoch, open_dates, hidden, reprocessing_status,
                          CASE WHEN reprocessing_status = 'IN_PROGRESS'
                               THEN reprocessing_since(position_id, $1) END
                   FROM positions_at($1) ORDER BY 1""",
                known_at,
            )
        ]

    async def _what_is_seen_has_a_moment(self) -> None:
        """Nothing that readers see changes without a moment."""
        moment = await self.outside.fetchval("SELECT max(at) FROM moments")
        seen = await self._look(None)
        if moment is not None:
            assert self.looks.setdefault(moment, seen) == seen, f"changed since {moment}"

    async def _the_past_stays(self) -> None:
        """Asked again, every look gets the answer that it got then."""
        for moment, seen in self.looks.items():
            again = await self._look(moment)
            assert again == seen, f"known at {moment}: {seen}, asked again: {again}"

    def teardown(self) -> None:
        try:
            if not self.failed and hasattr(self, "url"):
                self.run(self._settles())
        finally:
            if hasattr(self, "url"):
                self.runner.run(self._close())
            self.runner.close()

    async def _settles(self) -> None:
        """Let the next scheduler finish everything, then compare every row with the reference
        valuation."""
        await self._take_over()
        for _ in range(30):
            worked = await self._turn()
            if not worked and not await self.outside.fetchval(
                "SELECT count(*) FROM deferred_jobs JOIN portfolio_valuation_jobs USING (job_id) "
                "WHERE status = 'PENDING'"
            ):
                break
            await self._holds()
            if await self._only_waits():
                break
        await self._holds()
        await self._the_past_stays()
        await check(self.database)

    async def _only_waits(self) -> bool:
        """Whether every position is current or waits for data, which it would do for ever."""
        busy: int = await self.outside.fetchval(
            "SELECT count(*) FROM position_status "
            "WHERE state NOT IN ('CURRENT', 'WAITING_FOR_DATA')"
        )
        return busy == 0

    async def _close(self) -> None:
        self.reader.close()
        await self.outside.close()
        await self.database.close()
        await drop_database(self.server_url, self.url)


@pytest.fixture(scope="module")
def templates(server_url: str, template: str) -> dict[bool, str]:
    """Databases with the book: as it was loaded, and with everything valued that can be valued."""

    async def make() -> dict[bool, str]:
        names = {}
        for valued in (False, True):
            url = await fresh_database(server_url, template)
            async with await Database.open(url) as database:
                await load_book(database)
            if valued:
                async with engine(url) as running:
                    await running.settle()
            names[valued] = url.partition("@/")[2].partition("?")[0]
            assert named(server_url, names[valued]) == url
        return names

    return asyncio.run(make())


def test_no_order_of_steps_breaks_an_invariant(server_url: str, templates: dict[bool, str]) -> None:
    Store.server_url, Store.templates = server_url, templates
    Store.steps.clear()
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    limits = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, suppress_health_check=slow)
    try:
        run_state_machine_as_test(Store, settings=limits)  # type: ignore[no-untyped-call]
    finally:
        print(f"{Store.steps['steps']:,} steps were checked")
    assert Store.steps["steps"] >= MIN_STEPS, "too few steps to show anything"
