"""What a run cost: CPU seconds and memory by kind of process, WAL bytes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from revalue.engine.postgres.database import Database

_KINDS = {"ray::ValuationActor": "actors", "ray::ValuationScheduler": "scheduler"}

_Key = tuple[int, float]
"""A process: its id, which is used again, and when it started."""


@dataclass(frozen=True)
class _Tree:
    """A process and its descendants.

    Attributes:
        own: kind and CPU seconds of each process that is alive.
        total: CPU seconds of all of them, and of those that have ended and that a parent has
            waited for.
    """

    own: dict[_Key, tuple[str, float]]
    total: float

    def since(self, before: "_Tree", ended: str) -> dict[str, float]:
        """Return the CPU seconds by kind; what processes spent that have ended is of `ended`."""
        spent: dict[str, float] = {}
        for key, (kind, seconds) in self.own.items():
            spent[kind] = spent.get(kind, 0.0) + seconds - before.own.get(key, (kind, 0.0))[1]
        rest = self.total - before.total - sum(spent.values())
        spent[ended] = spent.get(ended, 0.0) + max(rest, 0.0)
        return spent


def _tree(root: int | None, kinds: "_Kinds") -> _Tree:
    own: dict[_Key, tuple[str, float]] = {}
    total = 0.0
    for process in _family(root):
        try:
            times = process.cpu_times()
            seconds = times.user + times.system
            own[process.pid, process.create_time()] = (kinds.of(process), seconds)
            total += seconds + times.children_user + times.children_system
        except psutil.Error:
            continue
    return _Tree(own, total)


def _family(root: int | None) -> list[psutil.Process]:
    """Return the process and its descendants, which are read first.

    One that ends meanwhile is counted with its parent; the other way round it would be lost.
    """
    if root is None:
        return []
    try:
        process = psutil.Process(root)
        return [*process.children(recursive=True), process]
    except psutil.Error:
        return []


class _Kinds:
    """The kind of each process of the engine's tree: of a new one its title is read."""

    def __init__(self, root: int) -> None:
        self._root = root

    def of(self, process: psutil.Process) -> str:
        if process.pid == self._root:
            return "client"
        title = " ".join(process.cmdline())
        return next((kind for prefix, kind in _KINDS.items() if title.startswith(prefix)), "ray")


class _ServerKinds(_Kinds):
    def of(self, process: psutil.Process) -> str:
        return "postgresql"


def _memory(pid: int, file: str, name: str) -> int:
    """Return the bytes that a file of /proc/`pid` has under this name; 0 if there is no process."""
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:")), 0)


def anonymous_mib(pid: int) -> int:
    """Return the anonymous memory of a process in MiB; 0 if there is none."""
    return _memory(pid, "status", "RssAnon") >> 20


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
        cpu_seconds: by kind of process, of those that have ended too: postgresql (the whole server,
            autovacuum included), scheduler, actors, ray (its own processes, and workers that have
            ended) and client (the process that measures or, when another one is looked at, that
            one).
        peak_anonymous_mib: the largest single process of each kind, anonymous memory only, a page
            that n processes have as 1/n (Pss_Anon): shared memory, such as PostgreSQL's buffers, is
            counted nowhere.
        wal_bytes: written to PostgreSQL's log.
    """

    cpu_seconds: dict[str, float] = field(default_factory=dict)
    peak_anonymous_mib: dict[str, int] = field(default_factory=dict)
    wal_bytes: int = 0


class Meter:
    """Measures from `start` to `stop`; call `sample` while the work runs.

    Others on this machine run the same programs: only a process and its descendants, and those of
    the PostgreSQL server, are looked at. Of a cluster that this process has joined nothing is
    known.
    """

    def __init__(self, root: int | None = None) -> None:
        """Create a meter.

        Args:
            root: the process whose tree is measured; None: this one.
        """
        self._root = root or os.getpid()
        self._peaks: dict[str, int] = {}
        self._kinds = _Kinds(self._root)

    async def start(self, database: Database) -> None:
        self._server = await _server_of(database)
        self._wal = await self._wal_position(database)
        self._before = self._trees()

    def sample(self) -> None:
        """Record the peaks of memory.

        The kernel walks over all pages of a process to tell its share of them. It is only asked
        for that of a process that may be the largest by its number of anonymous pages.
        """
        for kind, pid in self._processes():
            if _memory(pid, "status", "RssAnon") > self._peaks.get(kind, 0):
                share = _memory(pid, "smaps_rollup", "Pss_Anon")
                self._peaks[kind] = max(self._peaks.get(kind, 0), share)

    def _processes(self) -> Iterator[tuple[str, int]]:
        for root, kinds in self._roots():
            for process in _family(root):
                try:
                    kind = kinds.of(process)
                except psutil.Error:
                    continue
                if kind != "client":
                    yield kind, process.pid

    def _roots(self) -> tuple[tuple[int | None, _Kinds], ...]:
        return (self._root, self._kinds), (self._server, _ServerKinds(self._root))

    def _trees(self) -> list[_Tree]:
        return [_tree(root, kinds) for root, kinds in self._roots()]

    async def stop(self, database: Database) -> Cost:
        after = self._trees()
        self.sample()
        spent: dict[str, float] = {}
        for now, before, ended in zip(after, self._before, ("ray", "postgresql"), strict=True):
            for kind, seconds in now.since(before, ended).items():
                spent[kind] = spent.get(kind, 0.0) + seconds
        if self._server is None:  # it is elsewhere
            spent.pop("postgresql", None)
        return Cost(
            cpu_seconds={kind: round(seconds, 2) for kind, seconds in spent.items()},
            peak_anonymous_mib={kind: peak >> 20 for kind, peak in self._peaks.items()},
            wal_bytes=int(await self._wal_position(database) - self._wal),
        )

    async def _wal_position(self, database: Database) -> int:
        async with database.connection() as connection:
            return int(await connection.fetchval("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))
