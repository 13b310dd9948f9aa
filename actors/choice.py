"""Choose the runtime of a run: Ray, or this process, which ends small work before Ray is up.

Nothing of Ray is imported here unless a run takes Ray.
"""

import asyncio
import sys
from dataclasses import dataclass

from revalue.actors.protocols import Host
from revalue.engine import logs
from revalue.engine.errors import TransientError
from revalue.engine.leadership.lease import was_left
from revalue.engine.operate.due_bound import due_at_most
from revalue.engine.postgres.database import Database
from revalue.engine.runtime import OnProgress, Run, runtime
from revalue.engine.settings import Settings, ray_cluster

_log = logs.logger("runtime")

LOCAL_POSITION_DAYS = 200_000
"""Less than this is valued in this process."""


@dataclass(frozen=True)
class Choice:
    """The runtime of a run.

    Attributes:
        runtime: `ray` or `local`.
        reason: why, in words; None: the user asked for it.
    is_for_now: another one may suit what becomes due later.
    """

    runtime: str
    reason: str | None
    is_for_now: bool = False

    @property
    def is_estimated(self) -> bool:
        """Whether this process was chosen because little is due."""
        return self.runtime == "local" and self.reason is not None

    def __str__(self) -> str:
        place = "on Ray" if self.runtime == "ray" else "in this process, without Ray"
        return f"{place}: {self.reason or 'as it was asked for'}"


def run_until_quiet(url: str, settings: Settings, *, on_progress: OnProgress | None = None) -> Run:
    """The runtime `auto` of engine.runtime: that of the other two which suits what is due."""
    made = choose(url, settings)
    _log.info("runtime chosen", runtime=made.runtime, reason=made.reason)
    return runtime(made.runtime)(url, settings, on_progress=on_progress)


def choose(url: str, settings: Settings, *, watch: bool = False) -> Choice:
    """Choose the runtime. Call it where no event loop runs.

    Args:
        watch: the run continues until it is stopped, so the choice is for now, unless its reason
            lasts.
    """
    if settings.runtime != "auto":
        return Choice(settings.runtime, None)
    if (address := ray_cluster(settings)) is not None:
        return Choice("ray", f"the cluster at {address} is set")
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        return Choice("ray", "this process is connected to it")
    try:
        has_died, due = asyncio.run(_look(url))
    except TransientError as error:
        return Choice("ray", f"it cannot be told how much is due ({error})", is_for_now=watch)
    if has_died:
        # Perhaps a job has ended its process, as one that needs too much memory does.
        return Choice("ray", "the last run has died, and here no job could end this one")
    if due >= LOCAL_POSITION_DAYS:
        much = f"{LOCAL_POSITION_DAYS:,} position-days or more are due"
        return Choice("ray", much, is_for_now=watch)
    few = f"at most {due:,} position-day{' is' if due == 1 else 's are'} due"
    return Choice("local", few if due else "nothing is due", is_for_now=watch)


def host_of(runtime: str, settings: Settings) -> Host:
    """Return where a run of this runtime takes place."""
    if runtime == "ray":
        from revalue.actors.ray_host import RayHost

        return RayHost(settings)
    from revalue.actors.local import LocalHost

    return LocalHost(settings)


async def _look(url: str) -> tuple[bool, int]:
    """Return whether the last scheduler has died, and at most how many position-days are due."""
    async with await Database.open(url, connections=1) as database:
        return await was_left(database), await due_at_most(database, LOCAL_POSITION_DAYS)
