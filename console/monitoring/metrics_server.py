"""Serve the metrics of the database to Prometheus, whether or not a scheduler runs."""

from prometheus_client import CollectorRegistry, start_http_server

from revalue.console.cli.output import err
from revalue.engine import metrics
from revalue.engine.operate.database_metrics import DatabaseCollector


def serve(url: str, host: str, port: int) -> None:
    """Serve on `host` and `port` (0: any free one) until interrupted.

    Raises:
        UsageError: the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(url))
    with metrics.translated_port_errors(host, port, "--port"):
        server, thread = start_http_server(port, addr=host, registry=registry)
    err.print(f"serving metrics on http://{host}:{server.server_port}/metrics")
    thread.join()
