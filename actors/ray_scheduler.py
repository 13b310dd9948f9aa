"""The scheduler as a named Ray actor."""

import ray

from revalue.actors import log_relay
from revalue.actors.ray_worker import RayWorker
from revalue.actors.scheduler import Scheduler
from revalue.engine.postgres.statement import Statement
from revalue.engine.settings import Settings

NAMESPACE = "revalue"


class ValuationScheduler(Scheduler):
    """A plain class that actors.cluster turns into a Ray actor. Ray restarts it when it dies."""

    def __init__(
        self, url: str, settings: Settings, actors: int, holder: str, take_over: bool
    ) -> None:
        log_relay.configure(settings.log_level)
        # At the first start only: restarted by Ray, it must not depose whoever leads since then.
        is_restarted = ray.get_runtime_context().was_current_actor_reconstructed
        super().__init__(
            url,
            settings,
            actors=actors,
            holder=holder,
            take_over=take_over and not is_restarted,
            start_valuer=RayWorker,
        )

    def _count_sent(self, of_actors: int) -> int:
        return of_actors + Statement.sent
