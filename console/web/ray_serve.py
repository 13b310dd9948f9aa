"""The API on Ray Serve, with replicas on a cluster: `serve run console.web.ray_serve:build database_url=postgresql://...`.

Needs `pip install 'revalue[serve]'`. Every replica has connections of its own, and always asks for tokens: Serve's proxies
are reached by more than one machine.
"""

from typing import Any

from fastapi import FastAPI
from ray import serve

from revalue.console.web.app import create_app
from revalue.engine.errors import UsageError
from revalue.engine.settings import Settings


def build(arguments: dict[str, Any]) -> serve.Application:
    """The application to run. database_url: of the database; replicas: how many processes answer (1)."""
    given = dict(arguments)
    url, replicas = given.pop("database_url", None), int(given.pop("replicas", 1))
    if not isinstance(url, str) or given:
        raise UsageError(
            f"database_url=postgresql://... and replicas=N are the arguments, not {sorted(given)}"
        )

    def application() -> FastAPI:
        """Made in the replica, with the settings of its own REVALUE_ variables."""
        return create_app(url, settings=Settings(**{}), hosts=["*"], require_token=True)

    return serve.deployment(
        serve.ingress(application)(), name="revalue", num_replicas=replicas
    ).bind()
