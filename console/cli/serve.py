"""`revalue serve`: the API. `serve-metrics` and `monitoring`: for Prometheus and Grafana."""

from pathlib import Path
from typing import Annotated

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.checks import optional_packages, writable_folder
from revalue.console.cli.connection import migrated_database_url
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import err, out, print_json


def serve(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8460,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; one that other machines can reach needs tokens."),
    ] = "127.0.0.1",
    require_token: Annotated[
        bool, typer.Option("--require-token", help="Require tokens on this machine, too.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option(help="PEM file with a certificate: serve over TLS.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="PEM file with the private key of the certificate.")
    ] = None,
) -> None:
    """Serve the API and the web console over HTTP.

    On another address than 127.0.0.1 or ::1 callers need a token (`revalue tokens`), which travels
    in clear without --certificate and --key.
    """
    with optional_packages("serve"):
        from revalue.console.web.server import is_loopback, run_server

    def tell(address: str) -> None:
        if certificate is None and not is_loopback(host):
            err.print(
                "without a certificate tokens and numbers travel in clear: whoever listens to the "
                "network can use them. Give --certificate and --key, or serve on 127.0.0.1 behind "
                "a proxy that ends TLS, with --require-token"
            )
        err.print(f"serving the API and the console on {address}; Ctrl-C ends it")

    settings = CliContext.of(ctx).settings
    run_server(
        migrated_database_url(settings),
        settings,
        host=host,
        port=port,
        require_token=require_token,
        certificate=certificate,
        key=key,
        on_listening=tell,
    )


def serve_metrics(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 9464,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve the metrics of the database (positions, triggers, jobs) to Prometheus.

    No scheduler is needed: these metrics also show that none is running.
    """
    from revalue.console.monitoring.metrics_server import serve

    serve(migrated_database_url(CliContext.of(ctx).settings), host, port)


def export_monitoring(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write the files.")],
    as_json: Json = False,
) -> None:
    """Write the Prometheus alert rules and the Grafana dashboard to FOLDER."""
    from revalue.console import monitoring

    paths = monitoring.export(writable_folder(folder))
    if as_json:
        print_json({"files": paths})
    else:
        for path in paths:
            out.print(str(path))
