"""The real loop and pool in simulated time: thousands of histories, and a few exact situations."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from revalue.actors import lanes, lock_watch, loop, pool
from revalue.actors.attempt import Attempt, AttemptState
from revalue.actors.attempts import Attempts
from revalue.engine.core.lifecycle import JobStatus, Lane
from revalue.engine.core.tasks import Task
from revalue.engine.stage.outlook import Outlook
from revalue.engine.stage.scan import Among
from tests.simulation.history import simulate, simulate_all
from tests.simulation.store import Store

HISTORIES = 1_000
_PARTS = 8


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("part", range(_PARTS))
def test_no_history_violates_an_invariant_or_hangs(part: int) -> None:
    """A violation tells its seed: `python -m tests.simulation.history SEED --show`."""
    simulate_all(range(part * HISTORIES // _PARTS, (part + 1) * HISTORIES // _PARTS))


def test_a_seed_is_one_history() -> None:
    assert [simulate(seed).steps for seed in (7, 8)] == [simulate(seed).steps for seed in (7, 8)]


Break = Callable[[pytest.MonkeyPatch], None]


def _lost_attempts_are_not_released(patch: pytest.MonkeyPatch) -> None:
    async def release(self: Attempts, attempt: Attempt, *_: Any, **__: Any) -> None:
        attempt.enter(AttemptState.RELEASED)
        self._drop_final()

    patch.setattr(Attempts, "_release", release)


def _results_are_not_applied(patch: pytest.MonkeyPatch) -> None:
    async def apply(self: Attempts, done: list[Attempt], **_: Any) -> None:
        for attempt in done:
            attempt.enter(AttemptState.APPLIED)
        self._drop_final()

    patch.setattr(Attempts, "_apply", apply)


def _recovery_is_left_out(patch: pytest.MonkeyPatch) -> None:
    async def recover(self: loop.SchedulerLoop) -> None:
        for work in self._lanes.values():
            work.forget_scan()
        self._watch.recovering()

    patch.setattr(loop.SchedulerLoop, "recover", recover)


def _quiet_is_told_without_a_look(patch: pytest.MonkeyPatch) -> None:
    async def is_quiet(self: loop.SchedulerLoop) -> bool:
        return self.progress.idle

    patch.setattr(loop.SchedulerLoop, "is_quiet", is_quiet)


def _a_lane_waits_for_what_the_other_has_created(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        loop.SchedulerLoop,
        "_is_over",
        lambda self, lane=None: self.is_stopping and not self._attempts.count(),
    )


def _nothing_is_looked_for_without_a_notification(patch: pytest.MonkeyPatch) -> None:
    async def sleep(self: loop.SchedulerLoop, work: lanes.LaneWork) -> None:
        await work.wake.wait()
        work.wake.clear()

    patch.setattr(loop.SchedulerLoop, "_sleep", sleep)


def _noted_positions_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        lanes.LaneWork,
        "_where_to_look",
        lambda self, outlook: Among.ALL if outlook.calendars != self._clean else None,
    )


def _a_new_term_looks_at_noted_positions_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        lanes.LaneWork,
        "_where_to_look",
        lambda self, outlook: (
            Among.UNSTAGED if self.lane is Lane.HISTORY and outlook.has_unstaged else None
        ),
    )


def _a_pass_counts_for_calendars_after_it(patch: pytest.MonkeyPatch) -> None:
    real = lanes.LaneWork._end_pass

    async def end_pass(self: lanes.LaneWork, outlook: Outlook) -> bool:
        again = await real(self, outlook)
        self._clean = outlook.calendars
        return again

    patch.setattr(lanes.LaneWork, "_end_pass", end_pass)


def _the_end_of_a_lock_is_not_noticed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lock_watch.LockWatch, "_forget_all_but", lambda self, still: None)


def _no_deadline(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pool.ActorPool, "_give_up", lambda self, member: None)


def _dead_actors_are_not_replaced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pool.ActorPool, "_replace", lambda self, member: None)


def _rest_never_ends(patch: pytest.MonkeyPatch) -> None:
    async def end_rest(self: pool.ActorPool, member: Any) -> None: ...

    patch.setattr(pool.ActorPool, "_end_rest", end_rest)


def _an_attempt_without_a_fence(patch: pytest.MonkeyPatch) -> None:
    real = Store.commit

    def commit(self: Store, task: Task, read: Any) -> Any:
        for job, _, _ in read:
            if job.task != task.task_id:
                job.task, job.status = task.task_id, JobStatus.PROCESSING
        return real(self, task, read)

    patch.setattr(Store, "commit", commit)


@pytest.mark.parametrize(
    "break_it",
    [
        _lost_attempts_are_not_released,
        _results_are_not_applied,
        _recovery_is_left_out,
        _quiet_is_told_without_a_look,
        _a_lane_waits_for_what_the_other_has_created,
        _nothing_is_looked_for_without_a_notification,
        _noted_positions_are_not_looked_at,
        _a_new_term_looks_at_noted_positions_only,
        _a_pass_counts_for_calendars_after_it,
        _the_end_of_a_lock_is_not_noticed,
        _no_deadline,
        _dead_actors_are_not_replaced,
        _rest_never_ends,
        _an_attempt_without_a_fence,
    ],
)
def test_a_broken_scheduler_is_found(break_it: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation can fail: each of these is found within a few hundred histories."""
    break_it(monkeypatch)
    # Rarer than the others: a stop has to meet jobs that one lane has created for the other.
    is_rare = break_it is _a_lane_waits_for_what_the_other_has_created
    with pytest.raises((AssertionError, RuntimeError)):
        simulate_all(range(800, 1100) if is_rare else range(300))
