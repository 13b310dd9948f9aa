"""python -m tests.faults.campaign --seed S --faults N: inject random faults into a working engine.

It runs the service, corrects, reads and checks while faults happen. At the end every position has
to be current and equal to the reference valuation. The exit code is 1 if an invariant was violated.
With --lake every result is a file of a lake, in a folder or in an object store, and a maintenance
of the lake runs meanwhile, which is killed at its own fault points. With --moves the service moves
between its process and Ray as often as it can; otherwise it is on Ray.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from revalue.engine.errors import RevalueError
from revalue.engine.operate.status import Status, list_failed_jobs, read_status, retry_jobs
from revalue.engine.postgres import embedded, schema
from revalue.engine.postgres.database import Database
from tests import seaweed
from tests.faults.armory import Armory
from tests.faults.checks import assert_all_correct
from tests.faults.injectors import SERVICE_USER, FaultInjector, Service
from tests.faults.maintainer import Maintainer
from tests.faults.proxy import Proxy
from tests.faults.workload import (
    PORTFOLIOS,
    UNAVAILABLE,
    Checker,
    Corrector,
    Reader,
    Seen,
    load_book,
)
from tests.support import execute, fetch

_MAX_SECONDS_TO_SETTLE = 180


async def campaign(
    seed: int,
    faults: int,
    folder: Path,
    *,
    lake: str | None = None,
    moves: bool = False,
    say: bool = True,
) -> tuple[Seen, Counter[str], int, str]:
    """Run one campaign.

    Args:
        lake: the address of a lake, whose variables this process has; None: no lake.
        moves: whether the service moves between its process and Ray.

    Returns:
        What the workload has seen, the number of faults by kind, the number of rows compared at the
        end, and the report.
    """
    begun = time.monotonic()
    url = embedded.start(folder / "data")
    await schema.migrate(url)
    (folder / "armed").mkdir()
    async with await Database.open(url, connections=1) as database:
        await load_book(database)
        await execute(database, f"CREATE ROLE {SERVICE_USER} LOGIN IN ROLE revalue_engine")
    seen, happened = Seen(), Counter[str]()
    proxy = Proxy(url, SERVICE_USER)
    await proxy.start()
    service = Service(
        url,
        proxy.url,
        folder / "data",
        Armory(folder / "armed"),
        folder / "service.log",
        {"REVALUE_LAKE": lake, "REVALUE_LAKE_TASK_ROWS": "1"} if lake else {},
        moves=moves,
    )
    injector = FaultInjector(service, proxy, seed)
    stop, end = asyncio.Event(), asyncio.Event()
    supervised = asyncio.create_task(service.run())
    corrected = asyncio.create_task(Corrector(url, seed, seen).run(stop))
    watching = [
        asyncio.create_task(Checker(url, seen).run(end)),
        *(
            asyncio.create_task(Reader(url, f"P{number}", seen).run(end))
            for number in (1, PORTFOLIOS)
        ),
    ]
    maintainer = Maintainer(url, folder / "maintenance", seed)
    if lake:
        watching.append(asyncio.create_task(maintainer.run(end)))
    try:
        while happened.total() < faults and not seen.violations:
            kind = await injector.inject_one()
            if kind is not None:
                happened[kind] += 1
                if say and happened.total() % 25 == 0:
                    sys.stderr.write(
                        f"{happened.total()} faults, {time.monotonic() - begun:.0f} s\n"
                    )
            for task in (supervised, corrected, *watching):
                if task.done():
                    task.result()
        service.armory.disarm()
        await injector.repair()
        stop.set()
        await corrected
        async with asyncio.timeout(_MAX_SECONDS_TO_SETTLE + 60):
            status = await _wait_until_current(url)
        end.set()
        await asyncio.gather(*watching)
    finally:
        stop.set()
        end.set()
        for task in (corrected, *watching):
            task.cancel()
        await service.end()
        await supervised
        await proxy.stop()
    if unexpected := service.exits.get(RevalueError.exit_code):
        seen.violations.append(
            f"the service ended {unexpected} times with an error that is none of its own: see "
            f"{service.log}"
        )
    async with await Database.open(url, connections=1) as database:
        rows = await assert_all_correct(database)
        [[files]] = await fetch(database, "SELECT count(*) FROM lake_files")
    lines = [
        f"seed {seed}: {happened.total()} faults in {time.monotonic() - begun:.0f} s"
        + (f", {files} files in the lake at the end" if lake else ""),
        *(f"  {count:4}  {kind}" for kind, count in sorted(happened.items())),
        f"{seen.corrections} corrections ({seen.refused} refused), {status.term} terms, "
        f"{status.zombie_jobs_fenced} jobs of zombies fenced, "
        f"exits of the service: {dict(sorted(service.exits.items()))}",
        f"{seen.reads} reads of a portfolio, "
        f"{seen.looks} looks at the whole database with {seen.rows_checked} current rows "
        f"compared, {rows} rows compared at the end",
        *([f"ends of the maintenance: {dict(sorted(maintainer.ended.items()))}"] if lake else []),
        f"violations: {len(seen.violations)}",
        *seen.violations[:20],
    ]
    return seen, happened, rows, "\n".join(lines)


async def _wait_until_current(url: str) -> Status:
    until = time.monotonic() + _MAX_SECONDS_TO_SETTLE
    while True:
        try:
            async with await Database.open(url, connections=1) as database:
                while True:
                    status = await read_status(database)
                    if status.is_current:
                        return status
                    if status.dead_letters:
                        await retry_jobs(database, await list_failed_jobs(database))
                    if time.monotonic() > until:
                        raise AssertionError(
                            f"positions are not current after {_MAX_SECONDS_TO_SETTLE} s: {status}"
                        )
                    await asyncio.sleep(0.2)
        except UNAVAILABLE:
            await asyncio.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--lake", choices=("folder", "s3"), help="store every result in a lake")
    parser.add_argument("--moves", action="store_true", help="move between the process and Ray")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep database and log, as after a violation",
    )
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="revalue-campaign-"))
    try:
        with ExitStack() as stack:
            lake = None if given.lake is None else str(folder / "lake")
            if given.lake == "s3":
                os.environ.update(stack.enter_context(seaweed.running()).environment())
                lake = f"s3://{seaweed.BUCKET}/campaign"
            run = campaign(given.seed, given.faults, folder, lake=lake, moves=given.moves)
            seen, _, _, report = asyncio.run(run)
            given.keep |= bool(seen.violations)
    finally:
        embedded.stop(folder / "data")
        if given.keep:
            sys.stderr.write(f"kept: {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(report + "\n")
    sys.exit(1 if seen.violations else 0)


if __name__ == "__main__":
    main()
