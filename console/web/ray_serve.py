"""The API on Ray Serve, with replicas on a cluster.

`serve run revalue.console.web.ray_serve:build database_url=postgresql://... replicas=2`

Needs the extra `ray-serve`. Each replica has its own database connections. Replicas always require
tokens, because other machines can reach the proxies of Ray Serve.
"""

from typing import Any

from fastapi import FastAPI
from ray import serve

from revalue.console.web.app import create_app
from revalue.engine.errors import UsageError
from revalue.engine.settings import Settings


def build(arguments: dict[str, Any]) -> serve.Application:
    """Return the application for `serve run`.

    Args:
        arguments: database_url: address of the database; replicas: number of processes, default 1.

    Raises:
        UsageError: database_url is missing, or an argument is unknown.
    """
    given = dict(arguments)
    url, replicas = given.pop("database_url", None), int(given.pop("replicas", 1))
    if not isinstance(url, str) or given:
        raise UsageError(
            "expected the arguments database_url=postgresql://... and replicas=N, "
            f"got {sorted(arguments)}"
        )

    def application() -> FastAPI:
        """Create the application in the replica, with settings from its own REVALUE_ variables."""
        return create_app(
            url,
            settings=Settings(**{}),
            hosts=["*"],
            require_token=True,
            # In the background it would be known to one replica, and polled at another.
            preview_wait_seconds=None,
        )

    return serve.deployment(
        serve.ingress(application)(), name="revalue", num_replicas=replicas
    ).bind()
