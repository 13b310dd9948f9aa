"""The kinds of faults of a campaign, and the service that they are injected into."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil

from revalue.engine import fault_injection
from revalue.engine.errors import AccessDeniedError, RevalueError
from revalue.engine.leadership import control
from revalue.engine.postgres import embedded
from revalue.engine.postgres.database import Database
from tests.faults.armory import Armory
from tests.faults.proxy import Proxy
from tests.faults.workload import UNAVAILABLE
from tests.support import engine, until

ROOT = Path(__file__).parents[2]
SERVICE_USER = "service"
SETTINGS = {
    "REVALUE_TASK_ROWS": "60",
    "REVALUE_LEASE_SECONDS": "2",
    "REVALUE_TASK_DEADLINE_SECONDS": "3",
    "REVALUE_POLL_SECONDS": "0.2",
    "REVALUE_RETRY_SECONDS": "0.1",
    "REVALUE_TASK_STARTS_PER_SECOND": "500",
    "REVALUE_MAX_ATTEMPTS": "50",
}


class Service:
    """`revalue value --watch` in a process of its own, restarted whenever it ends.

    Attributes:
        url: the server's address; own_url: the one that the process has, by which it reaches the
            server through a proxy and has the rights of revalue_engine only.
        exits: how often it has ended with each exit code.
        log: what it has printed.
    """

    def __init__(
        self,
        url: str,
        own_url: str,
        data_dir: Path,
        armory: Armory,
        log: Path,
        settings: dict[str, str],
        *,
        moves: bool = False,
    ) -> None:
        """Create it.

        Args:
            moves: it moves between its process and Ray again and again; otherwise it is on Ray.
        """
        self.url, self.own_url = url, own_url
        self._settings = settings
        self._command = (
            ["tests.moving_watch"] if moves else [*"revalue value --watch --runtime ray".split()]
        )
        self.data_dir = data_dir
        self.armory = armory
        self.exits: dict[int, int] = {}
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = False

    async def run(self) -> None:
        """Keep the process running until `end` is called."""
        while not self._ending:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", *self._command, "--quiet", "--actors", "2"],
                    cwd=ROOT,
                    env={
                        **os.environ,
                        **SETTINGS,
                        **self._settings,
                        "REVALUE_DATABASE_URL": self.own_url,
                        "REVALUE_FAULTS": str(self.armory.folder),
                    },
                    stdout=log,
                    stderr=log,
                )
            while (code := self._process.poll()) is None:
                await asyncio.sleep(0.1)
            self.exits[code] = self.exits.get(code, 0) + 1
            await asyncio.sleep(0.2)

    async def end(self) -> None:
        """Terminate it by SIGTERM: tasks in flight are finished."""
        self._ending = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, 120)

    def kill(self) -> None:
        """Kill the driver, and with it its whole Ray."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def processes(self, title: str) -> list[psutil.Process]:
        """Return the processes of one kind of actor: only children of this service's driver."""
        if self._process is None or self._process.poll() is not None:
            return []
        found = []
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if process.name().startswith(title) or " ".join(process.cmdline()).startswith(
                        title
                    ):
                        found.append(process)
        return found


class FaultInjector:
    """Draws faults at random, from a seed, and injects them."""

    def __init__(self, service: Service, proxy: Proxy, seed: int) -> None:
        self._service = service
        self._proxy = proxy
        self._random = random.Random(seed)
        self._kinds = {
            "armed point": (self._armed_point, 60),
            "actor killed": (self._actor_killed, 10),
            "actor stopped and woken": (self._actor_stopped, 4),
            "scheduler killed": (self._scheduler_killed, 5),
            "scheduler stopped and woken": (self._scheduler_stopped, 2),
            "driver and its Ray killed": (self._driver_killed, 1),
            "sessions terminated": (self._sessions_terminated, 8),
            "statement cancelled": (self._statement_cancelled, 5),
            "actor cut off from the database": (self._actor_cut_off, 4),
            "connections used up": (self._connections_used_up, 3),
            "connections gone silent": (self._connections_silent, 2),
            "right revoked": (self._right_revoked, 2),
            "rows locked": (self._rows_locked, 4),
            "disk full": (self._disk_full, 2),
            "server stopped and started": (self._server_stopped, 2),
            "deposed by a rival": (self._deposed, 1),
            "paused and resumed": (self._paused, 2),
            "drained": (self._drained, 1),
        }

    async def inject_one(self) -> str | None:
        """Inject one fault; return its kind, or None if there was nothing to inject it into."""
        kind = self._random.choices(
            list(self._kinds), [weight for _, weight in self._kinds.values()]
        )[0]
        try:
            happened = await self._kinds[kind][0]()
        except (*UNAVAILABLE, RevalueError, psutil.Error):
            return None
        return kind if isinstance(happened, bool) and happened else happened or None

    async def _armed_point(self) -> str | None:
        point = self._random.choice(fault_injection.POINTS)
        actions = ["KILL", "LOSE", "CONFLICT", "STOP"] + ["BREAK"] * point.startswith("value")
        action = self._random.choices(actions, [4, 3, 2, 1, 2][: len(actions)])[0]
        if point.startswith("acquire"):
            action = "KILL"
        self._service.armory.arm(point, action)
        for needs, companion in (
            ("release", "value.begun"),
            ("retry", "value.begun"),
            ("recover", "apply.begun"),
        ):
            if point.startswith(needs):
                self._service.armory.arm(companion, "LOSE" if needs == "recover" else "KILL")
        if point.startswith("acquire"):
            await self._scheduler_killed()
        try:
            victim = await self._service.armory.wait_for_victim(point, action, seconds=6)
        except AssertionError:
            return None
        finally:
            self._service.armory.disarm()
        if action == "STOP":
            await self._resume_later(victim)
        return f"{action} at {point.partition('.')[0]}"

    async def _resume_later(self, victim: int) -> None:
        await asyncio.sleep(self._random.uniform(0.5, 6))
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGCONT)

    async def _actor_killed(self) -> bool:
        return self._signal("ray::ValuationActor", signal.SIGKILL) is not None

    async def _actor_stopped(self) -> bool:
        return await self._stopped("ray::ValuationActor")

    async def _scheduler_killed(self) -> bool:
        return self._signal("ray::ValuationScheduler", signal.SIGKILL) is not None

    async def _scheduler_stopped(self) -> bool:
        return await self._stopped("ray::ValuationScheduler")

    def _signal(self, title: str, number: signal.Signals) -> int | None:
        found = self._service.processes(title)
        if not found:
            return None
        victim = self._random.choice(found)
        victim.send_signal(number)
        return victim.pid

    async def _stopped(self, title: str) -> bool:
        victim = self._signal(title, signal.SIGSTOP)
        if victim is not None:
            await self._resume_later(victim)
        return victim is not None

    async def _driver_killed(self) -> bool:
        self._service.kill()
        return True

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        connection = await asyncpg.connect(self._service.url, timeout=5)
        try:
            yield connection
        finally:
            connection.terminate()

    async def _sessions_terminated(self) -> bool:
        share = self._random.choice([0.3, 1.0])
        return await self._backends("pg_terminate_backend", f"random() < {share}")

    async def _statement_cancelled(self) -> bool:
        return await self._backends("pg_cancel_backend", "state = 'active'")

    async def _backends(self, function: str, condition: str) -> bool:
        async with self._connection() as connection:
            hit = await connection.fetchval(
                f"""SELECT count({function}(pid)) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid() AND {condition}
                      AND application_name LIKE 'revalue%'"""
            )
        return bool(hit)

    async def _actor_cut_off(self) -> bool:
        """End every session of one actor, again and again, while the others go on."""
        end, hits = time.monotonic() + self._random.uniform(1, 4), 0
        async with self._connection() as connection:
            names = [
                row["application_name"]
                for row in await connection.fetch(
                    """SELECT DISTINCT application_name FROM pg_stat_activity
                       WHERE application_name LIKE 'revalue valuer%' ORDER BY 1"""
                )
            ]
            if not names:
                return False
            name = self._random.choice(names)
            while time.monotonic() < end:
                hits += await connection.fetchval(
                    """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                       WHERE application_name = $1""",
                    name,
                )
                await asyncio.sleep(0.03)
        return hits > 1

    async def _connections_used_up(self) -> bool:
        url = self._service.url.replace("//postgres:", f"//{SERVICE_USER}:")
        held: list[asyncpg.Connection[asyncpg.Record]] = []
        try:
            with contextlib.suppress(asyncpg.TooManyConnectionsError):
                while True:
                    held.append(await asyncpg.connect(url, timeout=5))
            await asyncio.sleep(self._random.uniform(0.5, 3))
        finally:
            for connection in held:
                connection.terminate()
        return True

    async def _connections_silent(self) -> bool:
        if not self._proxy.silence():
            return False
        await asyncio.sleep(self._random.uniform(1, 12))
        return True

    async def _right_revoked(self) -> bool:
        right = self._random.choice(
            ["INSERT ON daily_position_snapshots", "SELECT ON market_prices"]
        )
        ended = self._service.exits.get(AccessDeniedError.exit_code, 0)
        async with self._connection() as connection:
            await connection.execute(f"REVOKE {right} FROM revalue_engine")
        end = time.monotonic() + 8
        while not (met := self._service.exits.get(AccessDeniedError.exit_code, 0) > ended):
            if time.monotonic() > end:
                break
            await asyncio.sleep(0.05)
        await self.repair()
        return met

    async def _rows_locked(self) -> bool:
        async with self._connection() as connection, connection.transaction():
            await connection.execute("SELECT FROM position_state WHERE random() < 0.3 FOR UPDATE")
            await asyncio.sleep(self._random.uniform(0.1, 1))
        return True

    async def _disk_full(self) -> bool:
        async with self._connection() as connection:
            await connection.execute(
                """CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
                   BEGIN
                       RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END
                           $$;
                   CREATE OR REPLACE TRIGGER full_disk BEFORE INSERT ON daily_position_snapshots
                   FOR EACH STATEMENT EXECUTE FUNCTION full_disk()"""
            )
        await asyncio.sleep(self._random.uniform(0.2, 1.5))
        await self.repair()
        return True

    async def repair(self) -> None:
        """Undo what could outlast its fault: the full disk, a pause, a right that is missing."""

        async def is_repaired() -> bool:
            try:
                async with self._connection() as connection:
                    await connection.execute(
                        "DROP TRIGGER IF EXISTS full_disk ON daily_position_snapshots"
                    )
                    await connection.execute(
                        "UPDATE scheduler_term SET paused_at = NULL, paused_by = NULL"
                    )
                    await connection.execute("SELECT grant_revalue_roles()")
            except UNAVAILABLE:
                return False
            return True

        await until(is_repaired, seconds=120, pause=0.1)

    async def _server_stopped(self) -> bool:
        postmaster = int(
            (self._service.data_dir / "postgresql" / "postmaster.pid").read_text().split()[0]
        )
        os.kill(postmaster, self._random.choice([signal.SIGQUIT, signal.SIGINT]))  # immediate, fast
        await until(lambda: not psutil.pid_exists(postmaster), seconds=120)
        await asyncio.sleep(self._random.uniform(0, 2))
        await asyncio.to_thread(embedded.start, self._service.data_dir)
        return True

    async def _deposed(self) -> bool:
        async with engine(self._service.url, holder=f"rival-{self._random.random()}") as running:
            for _ in range(self._random.randint(1, 20)):
                await running.loop.run_once()
                await asyncio.sleep(0.05)
            running.loop.stop()
            async with asyncio.timeout(60):
                while running.loop.progress.in_flight:
                    await running.loop.run_once()
                    await asyncio.sleep(0.01)
            await running.term.release()
        return True

    async def _paused(self) -> bool:
        async with await Database.open(self._service.url, connections=1) as database:
            await control.pause(database, "campaign")
            await asyncio.sleep(self._random.uniform(0.1, 1))
            await control.resume(database)
        return True

    async def _drained(self) -> bool:
        async with await Database.open(self._service.url, connections=1) as database:
            leader = await control.drain(database, seconds=30, lease_seconds=2)
        return leader.holder is not None
