"""What a run cost: CPU seconds and memory by kind of process, WAL bytes."""

import os
from dataclasses import dataclass, field

import psutil

from revalue.engine.postgres.database import Database

_KINDS = {
    "ray::ValuationActor": "actors",
    "ray::ValuationScheduler": "scheduler",
    "postgres:": "postgresql",
}


def _processes(server: int | None) -> dict[tuple[int, float], tuple[str, float, int]]:
    """Map (pid, start) to (kind, CPU seconds, resident bytes that are the process's own).

    Others on this machine run the same programs: only descendants of this process, and of the
    PostgreSQL `server`, are looked at. Of a cluster that this process has joined nothing is known.
    """
    found = {}
    for process in [*_descendants(os.getpid()), *(_descendants(server) if server else ())]:
        try:
            title = " ".join(process.cmdline())
            kind = next((kind for prefix, kind in _KINDS.items() if title.startswith(prefix)), None)
            if kind is not None:
                times, memory = process.cpu_times(), process.memory_full_info()
                found[process.pid, process.create_time()] = (
                    kind,
                    times.user + times.system,
                    memory.uss,
                )
        except psutil.Error:
            continue
    return found


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


async def _server_of(database: Database) -> int | None:
    """The server's main process, if it is on this machine: that is known of a Unix socket."""
    async with database.connection() as connection:
        pid = await connection.fetchval("SELECT pg_backend_pid() WHERE inet_server_addr() IS NULL")
        try:
            return None if pid is None else int(psutil.Process(pid).ppid())
        except psutil.Error:
            return None


@dataclass
class Cost:
    """What a run cost.

    Attributes:
        cpu_seconds: by kind of process.
        peak_mib: the largest single process of each kind, its own memory only: what it shares,
            such as PostgreSQL's buffers, is counted nowhere.
        wal_bytes: written to PostgreSQL's log.
    """

    cpu_seconds: dict[str, float] = field(default_factory=dict)
    peak_mib: dict[str, int] = field(default_factory=dict)
    wal_bytes: int = 0


class Meter:
    """Measures from `start` to `stop`; call `sample` while the work runs."""

    def __init__(self) -> None:
        self._cost = Cost()

    async def start(self, database: Database) -> None:
        self._server = await _server_of(database)
        self._before = _processes(self._server)
        self._wal = await self._wal_position(database)

    def sample(self) -> None:
        """Record the peaks of memory."""
        for kind, _, memory in _processes(self._server).values():
            self._cost.peak_mib[kind] = max(self._cost.peak_mib.get(kind, 0), memory >> 20)

    async def stop(self, database: Database) -> Cost:
        self.sample()
        for key, (kind, seconds, _) in _processes(self._server).items():
            spent = seconds - (self._before[key][1] if key in self._before else 0.0)
            self._cost.cpu_seconds[kind] = round(self._cost.cpu_seconds.get(kind, 0.0) + spent, 2)
        self._cost.wal_bytes = int(await self._wal_position(database) - self._wal)
        return self._cost

    async def _wal_position(self, database: Database) -> int:
        async with database.connection() as connection:
            return int(await connection.fetchval("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))
