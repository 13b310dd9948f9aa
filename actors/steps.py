"""The steps of docs/protocol.md as a scheduler takes them, on a real PostgreSQL."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from revalue.engine import metrics
from revalue.engine.apply import apply
from revalue.engine.apply.unfinished import log_unfinished_jobs
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.fan_out import fan_out
from revalue.engine.leadership import blocking
from revalue.engine.leadership.term import Control, Term
from revalue.engine.operate.status import queue_depth
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.blockers import Blocker
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from revalue.engine.stage import stage
from revalue.engine.stage.outlook import Outlook, read_outlook
from revalue.engine.stage.scan import Among, Scan, scan_page


class DatabaseSteps:
    """The steps of one scheduler. See actors.protocols.Steps for what each does and raises."""

    def __init__(
        self,
        database: Database,
        readers: Mapping[Lane, ArrowReader],
        term: Term,
        settings: Settings,
    ) -> None:
        """Create the steps of a term.

        Args:
            readers: one per lane, because both lanes read at the same time.
        """
        self._database = database
        self._readers = readers
        self._term = term
        self._settings = settings
        self.term = term.number

    async def control(self) -> Control:
        return await self._term.control()

    async def outlook(self) -> Outlook:
        return await read_outlook(self._database)

    async def heartbeat(self) -> Control:
        return await self._term.heartbeat()

    def listening(self, hear: Callable[[], None]) -> AbstractAsyncContextManager[asyncio.Event]:
        return self._database.listening("revalue_wake", hear)

    async def recover(self, known: Sequence[Task], *, leave_locked: bool) -> list[int]:
        return await apply.recover(self._term, known, leave_locked=leave_locked)

    async def apply_left(self) -> list[int]:
        return await apply.apply_left(self._term)

    async def fan_out(self, *, max_positions: int, capacity: int) -> fan_out.FannedOut | None:
        task_rows = self._settings.task_rows
        return await fan_out.fan_out(
            self._term,
            max_positions=max_positions,
            capacity=fan_out.Capacity(self._readers[Lane.HISTORY], capacity * task_rows, task_rows),
        )

    async def is_live_held(self) -> bool:
        return await stage.live_lane_is_held(
            self._database, live_business_days=self._settings.live_business_days
        )

    async def retry_due(self, *, max_jobs: int, capacity: int) -> list[Task]:
        return await apply.retry_due(
            self._term, max_jobs=max_jobs, task_rows=self._settings.task_rows, capacity=capacity
        )

    async def scan(
        self,
        lane: Lane,
        cursor: int,
        *,
        page_positions: int,
        among: Among = Among.ALL,
    ) -> Scan:
        scanned = await self._readers[lane].run(
            scan_page,
            lane,
            cursor,
            page_positions=page_positions,
            live_business_days=self._settings.live_business_days,
            among=among,
        )
        metrics.observe_gaps(scanned.ranges["rows"])
        return scanned

    async def forget_staged(self) -> None:
        await stage.forget_staged(self._term)

    async def stage_newest(
        self, cursor: int, *, page_positions: int, capacity: int
    ) -> stage.StagedNewest:
        task_rows = self._settings.task_rows
        staged = await stage.stage_newest(
            self._term,
            cursor,
            page_positions=page_positions,
            task_rows=task_rows,
            capacity_rows=capacity * task_rows,
            live_business_days=self._settings.live_business_days,
        )
        for length, count in staged.days.items():
            metrics.GAP_DAYS.add(length, count)
        return staged

    async def stage(
        self, scan: Scan, lane: Lane, *, capacity: int, leave_locked: bool
    ) -> stage.Staged:
        task_rows = self._settings.task_rows
        return await stage.stage(
            self._term,
            scan,
            lane,
            task_rows=task_rows,
            capacity_rows=capacity * task_rows,
            leave_locked=leave_locked,
        )

    async def apply(self, tasks: Sequence[Task], *, leave_locked: bool) -> list[Task]:
        return await apply.apply(
            self._term,
            tasks,
            retry_seconds=self._settings.retry_seconds,
            leave_locked=leave_locked,
        )

    async def release(
        self,
        task: Task,
        *,
        reason: str,
        pause_seconds: float = 0,
        worker: str | None = None,
        max_deaths: int | None = None,
        leave_locked: bool = False,
    ) -> tuple[int, bool]:
        return await apply.release(
            self._term,
            task,
            retry_seconds=self._settings.retry_seconds,
            reason=reason,
            pause_seconds=pause_seconds,
            worker=worker,
            max_deaths=max_deaths,
            leave_locked=leave_locked,
        )

    async def log_unfinished(self, tasks: Sequence[Task]) -> None:
        await log_unfinished_jobs(self._database, tasks)

    async def queue_depth(self) -> Mapping[str, int]:
        return await queue_depth(self._database)

    def forget_connections(self) -> None:
        for reader in self._readers.values():
            reader.close()

    def blockers(self) -> list[Blocker]:
        of_reads = [each for reader in self._readers.values() for each in reader.blockers()]
        return [*self._database.blockers(), *of_reads]

    async def blockers_of_calendar(self, calendar: str) -> list[Blocker]:
        return await blocking.blockers_met_by(
            self._database,
            lambda connection: stage.wait_for_calendars(connection, calendars=[calendar]),
        )

    async def blockers_of_positions(self, positions: Sequence[int]) -> list[Blocker]:
        return await blocking.blockers_met_by(
            self._database, lambda connection: apply.wait_for_positions(connection, positions)
        )

    async def still_open(self, blockers: set[Blocker]) -> set[Blocker]:
        return await blocking.still_open(self._database, blockers)
