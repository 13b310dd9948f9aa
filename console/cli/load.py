"""`revalue load`: load a file. `revalue sample`: load the sample book."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from revalue.console import sample
from revalue.console.cli.arguments import Json, kinds_that_begin, parse_kind
from revalue.console.cli.checks import require_confirmation, require_somebody, writable_folder
from revalue.console.cli.context import CliContext
from revalue.console.cli.input_files import FILE_HELP, Format, opened
from revalue.console.cli.output import (
    counted,
    err,
    out,
    print_json,
    print_table,
    print_warnings,
    tidy,
)
from revalue.console.cli.progress import load_line
from revalue.console.cli.stop_signals import told_when_stopped
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.inputs.sources import FrameSource, Source
from revalue.engine.correct.loads.load import LoadResult, require_mode
from revalue.engine.correct.loads.load import load as load_input
from revalue.engine.correct.loads.load_progress import LoadProgress
from revalue.engine.correct.loads.position_records import PositionRecord
from revalue.engine.postgres import embedded
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import rolled_back

_SHOWN_RECORDS = 10


def load(
    ctx: typer.Context,
    kind: Annotated[
        Kind,
        typer.Argument(
            metavar="KIND",
            parser=parse_kind,
            autocompletion=kinds_that_begin,
            help="What the file contains.",
        ),
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help=FILE_HELP)],
    file_format: Format = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Of positions: remove the later records of a position that FILE does not contain.",
        ),
    ] = False,
    snapshot: Annotated[
        bool,
        typer.Option(
            "--snapshot",
            help="Of positions: FILE is all that its portfolios hold on its one date; close what "
            "they hold besides.",
        ),
    ] = False,
    allow_empty: Annotated[
        bool,
        typer.Option("--allow-empty", help="Accept a FILE without rows: it is an error otherwise."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be loaded.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Confirm: do not ask before a snapshot closes positions.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check FILE and load it as a whole; if any row is wrong, nothing is loaded.

    Loading the same file again changes nothing. Other values are a correction: the next `revalue
    value` restates what they affect. What FILE does not contain stays as it is.
    """
    require_mode(kind, replace=replace, snapshot=snapshot)
    with opened(file, file_format) as source:
        _load(
            CliContext.of(ctx),
            kind,
            source,
            replace=replace,
            snapshot=snapshot,
            allow_empty=allow_empty,
            dry_run=dry_run,
            yes=yes,
            as_json=as_json,
        )


def _load(
    context: CliContext,
    kind: Kind,
    source: Source,
    *,
    replace: bool,
    snapshot: bool,
    allow_empty: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Load what was opened, after a question if it is a snapshot, and print what was done."""
    may_close: set[tuple[str, str]] | None = None
    begun = _Begun()

    async def run(database: Database, *, writes: bool) -> LoadResult:
        with load_line(show=not as_json) as draw:

            def on_progress(now: LoadProgress) -> None:
                begun.step = now.step if writes else ""
                if draw is not None:
                    draw(now)

            async with nullcontext(database) if writes else rolled_back(database) as connections:
                loaded = await load_input(
                    connections,
                    kind,
                    source,
                    replace=replace,
                    snapshot=snapshot,
                    may_close=may_close,
                    allow_empty=allow_empty,
                    on_progress=on_progress,
                )
            if writes:
                begun.load_id = loaded.load_id
            if context.settings.database_url is None:
                await embedded.release_log(database)
        return loaded

    if snapshot and not yes and not dry_run:
        require_somebody("a snapshot closes what it leaves out (--dry-run shows it)")
        with told_when_stopped(begun.describe):
            told = context.run(partial(run, writes=False))
        if told.closed:
            _print_records(err, _closed(told, is_dry_run=True), told.closed_records, dated="since")
            require_confirmation(
                f"{counted(told.closed, 'position')} would be closed on {told.closed_on}",
                confirmed=False,
            )
        may_close = {(each.portfolio_id, each.security_id) for each in told.closed_records}
    with told_when_stopped(begun.describe):
        result = context.run(partial(run, writes=not dry_run))
    if as_json:
        # The number of what is rolled back is not that of a load.
        load_id = None if dry_run else result.load_id
        print_json({**vars(result), "load_id": load_id, "is_dry_run": dry_run})
        return
    _print(result, is_dry_run=dry_run)
    print_warnings(result.warnings)


@dataclass
class _Begun:
    """How far a load is, for whoever stops it.

    Attributes:
        step: of `LoadProgress`; empty: nothing is to be written.
        load_id: its number, when it is committed.
    """

    step: str = ""
    load_id: int | None = None

    def describe(self) -> str:
        """Say what a load has written that was stopped."""
        if self.load_id is not None:
            return f"the file was loaded before (load {self.load_id})"
        if self.step == "committing":
            return "the load was being committed: `revalue loads` says whether it is there"
        return "nothing was written"


def _print(result: LoadResult, *, is_dry_run: bool) -> None:
    out.print(_describe(result) + (" (not written)" if is_dry_run else ""))
    if result.changed and not is_dry_run:
        out.print("what has changed is a correction: `revalue value` restates what it affects")
    if result.removed:
        title = "Records that would be removed" if is_dry_run else "Removed position records"
        _print_records(None, title, result.removed_records, dated="date")
    if result.closed:
        _print_records(
            None, _closed(result, is_dry_run=is_dry_run), result.closed_records, dated="since"
        )


def _closed(result: LoadResult, *, is_dry_run: bool) -> str:
    return f"Left out, {'would be closed' if is_dry_run else 'closed'} on {result.closed_on}"


def _print_records(
    console: Console | None, title: str, records: Sequence[PositionRecord], *, dated: str
) -> None:
    if len(records) > _SHOWN_RECORDS:
        title += f", the first {_SHOWN_RECORDS} of {len(records):,} (all: --json)"
    print_table(
        title,
        ("portfolio", "security", dated, "quantity"),
        [
            (each.portfolio_id, each.security_id, each.position_date, tidy(f"{each.quantity:f}"))
            for each in records[:_SHOWN_RECORDS]
        ],
        console=console,
    )


def _describe(result: LoadResult) -> str:
    text = (
        f"{result.kind}: {counted(result.rows, 'row')}: {result.inserted:,} new, "
        f"{result.changed:,} changed, {result.unchanged:,} unchanged"
    )
    if result.removed:
        text += f", {result.removed:,} removed"
    if result.closed:
        text += f", {result.closed:,} left out and closed"
    if result.kind == Kind.POSITIONS:
        text += (
            f"; {counted(result.positions_corrected, 'position')} corrected, "
            f"{result.positions_extended:,} extended"
        )
    return text


def load_sample(
    ctx: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", help="Write the files of the sample book here; load nothing."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Load the sample book (real prices and FX rates, invented holdings), or write its files."""
    if folder is not None:
        paths = sample.export(writable_folder(folder))
        if as_json:
            print_json({"files": paths})
        else:
            for path in paths:
                out.print(str(path))
        return

    async def run(database: Database) -> list[LoadResult]:
        results = []
        for kind, frame in sample.frames().items():
            book = FrameSource(frame, "the sample book")
            results.append(await load_input(database, kind, book))
            if not as_json:
                out.print(_describe(results[-1]))
        return results

    results = CliContext.of(ctx).run(run)
    if as_json:
        print_json(results)
