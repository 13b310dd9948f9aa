"""`revalue prune`: delete what only readers of the distant past need."""

import re
from dataclasses import asdict
from datetime import UTC, datetime, time, timedelta
from typing import Annotated

import typer

from revalue.console.cli.arguments import Json, Yes, parse_date
from revalue.console.cli.checks import require_confirmation
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import counted, out, print_json, print_table
from revalue.console.cli.progress import prune_line
from revalue.engine.errors import UsageError
from revalue.engine.operate.prune import Pruned
from revalue.engine.operate.prune import prune as prune_database
from revalue.engine.postgres.database import Database

_DAYS = re.compile(r"([0-9]{1,7})d")


def _parse_days(text: str) -> int:
    """Read a number of days, as `400d`."""
    found = _DAYS.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a number of days: write for example 400d")
    return int(found[1])


def _parse_time(text: str) -> datetime:
    """Read a date, which begins at midnight UTC, or a time with an offset."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        read = None
    if read is not None and read.tzinfo is not None:
        return read
    return datetime.combine(parse_date(text), time(), UTC)


def prune(
    ctx: typer.Context,
    keep: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS",
            parser=_parse_days,
            help="Keep what was shown in the last DAYS, for example 400d. "
            "Default: REVALUE_KEEP_DAYS.",
        ),
    ] = None,
    before: Annotated[
        datetime | None,
        typer.Option(
            metavar="DATE",
            parser=_parse_time,
            help="Keep what was shown since DATE: YYYY-MM-DD, which begins at midnight UTC, or a "
            "time with an offset.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete what only readers of the distant past need; `known_at` before that is then an error.

    That are superseded numbers, finished jobs, corrections and publications. What readers see now,
    and saw since, stays. It can run beside a scheduler, be stopped (Ctrl-C) and be run again.
    """
    context = CliContext.of(ctx)
    if keep is not None and before is not None:
        raise UsageError("give --keep or --before, not both")
    days = context.settings.keep_days if keep is None else keep
    if days is None and before is None:
        raise UsageError("say how much of the past is kept: --keep, --before or REVALUE_KEEP_DAYS")
    kept = timedelta(days=days) if days is not None and before is None else None
    if not dry_run:
        since = f"{days} days ago" if before is None else before.isoformat()
        require_confirmation(
            f"what readers were shown before {since} cannot be asked for any more, and is deleted "
            "(--dry-run says how much)",
            confirmed=yes,
        )

    async def run(database: Database) -> Pruned:
        with prune_line(show=not as_json) as on_progress:
            return await prune_database(
                database, keep=kept, before=before, dry_run=dry_run, on_progress=on_progress
            )

    pruned = context.run(run)
    if as_json:
        print_json(asdict(pruned))
    else:
        _print(pruned)


def _print(pruned: Pruned) -> None:
    floor = pruned.floor.isoformat(sep=" ", timespec="seconds")
    will = "would be" if pruned.is_dry_run else "is"
    print_table(
        f"The retention floor {will} {floor}; {counted(pruned.rows, 'row')} "
        f"{'would be' if pruned.is_dry_run else 'were'} deleted",
        ("table", "rows", "bytes"),
        ((name, table.rows, table.bytes) for name, table in pruned.tables.items()),
    )
    if not pruned.is_dry_run and pruned.rows:
        out.print("PostgreSQL uses their space for new rows")
