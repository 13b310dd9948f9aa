"""`revalue demo`: every step on the sample book."""

from pathlib import Path
from typing import Annotated

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.checks import optional_packages, writable_folder
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import print_json


def demo(
    ctx: typer.Context,
    folder: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where to write the chart.")
    ] = Path(),
    as_json: Json = False,
) -> None:
    """Show everything on the sample book, in about a minute.

    Load and value it, correct a price of the past, restate, verify, draw a chart.
    """
    settings = CliContext.of(ctx).settings
    writable_folder(folder)
    with optional_packages("chart"):
        from revalue.console.sample.demo import run_demo

    result = run_demo(settings, folder, show=not as_json)
    if as_json:
        print_json(result)
