"""`revalue correct`: correct a price, an FX rate, a position record, or a file of them."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.console import Console

from revalue.console.cli.arguments import (
    Day,
    Json,
    Portfolio,
    Security,
    parse_decimal,
    parse_not_negative,
)
from revalue.console.cli.checks import require_confirmation, require_somebody
from revalue.console.cli.context import CliContext
from revalue.console.cli.input_files import Format, opened
from revalue.console.cli.output import (
    counted,
    err,
    on_dates,
    out,
    print_json,
    print_table,
    tidy,
)
from revalue.console.cli.preview_tables import print_changes
from revalue.console.cli.progress import preview_line
from revalue.engine.core.date_ranges import DateRange
from revalue.engine.correct import corrections
from revalue.engine.correct.authors import Signed, local_author
from revalue.engine.correct.corrections import Correction, FileCorrection
from revalue.engine.correct.policy import PolicyCorrection
from revalue.engine.correct.reverts import Revert
from revalue.engine.correct.splits import SplitCorrection, split
from revalue.engine.errors import UsageError
from revalue.engine.postgres.database import Connections, Database, rolled_back
from revalue.engine.preview.preview import Estimate, Preview, preview

Corrected: TypeAlias = Correction | FileCorrection | SplitCorrection | PolicyCorrection
Made: TypeAlias = Corrected | Revert
Correct: TypeAlias = Callable[[Connections], Awaitable[Corrected]]

_MAX_TRIGGERS = 5
_MOVERS, _ALL_MOVERS = 10, 2**31  # per base currency

app = typer.Typer(
    no_args_is_help=True,
    help="Correct a price, an FX rate or a position record. `revalue value` then restates what the "
    "correction affects.",
)

DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Say what would be restated and how values would change; write nothing."
    ),
]

ShowAll = Annotated[
    bool,
    typer.Option(
        "--all",
        help="Of --dry-run: show each portfolio and every position that would change, and not only "
        "the ten largest changes.",
    ),
]

Why = Annotated[
    str | None,
    typer.Option("--why", metavar="TEXT", help="Why: shown with every number that it changes."),
]

Delete = Annotated[bool, typer.Option("--delete", help="Delete it, in place of a new value.")]


# An argument such as -4 is a number, not an option.
_NUMBERS = {"ignore_unknown_options": True}


@app.command("price", context_settings=_NUMBERS)
def correct_price(
    ctx: typer.Context,
    security: Security,
    day: Day,
    price: Annotated[
        Decimal | None,
        typer.Argument(
            parser=parse_not_negative, metavar="PRICE", help="The new price, as quoted."
        ),
    ] = None,
    delete: Delete = False,
    why: Why = None,
    dry_run: DryRun = False,
    show_all: ShowAll = False,
    as_json: Json = False,
) -> None:
    """Replace the stored price of SECURITY on DATE; its currency and quote basis stay.

    With --delete it is deleted: the dates that used it use the price before it, or have none.
    """
    _require_one(price, "PRICE", delete)

    async def correct(database: Connections) -> Correction:
        if price is None:
            return await corrections.delete_price(database, security, day)
        return await corrections.price(database, security, day, price)

    run_correction(ctx, correct, dry_run, as_json, why, show_all=show_all)


# `fx` is what it was called: scripts may have it.
@app.command("rate", context_settings=_NUMBERS)
@app.command("fx", context_settings=_NUMBERS, hidden=True)
def correct_rate(
    ctx: typer.Context,
    base: Annotated[str, typer.Argument(metavar="BASE", help="Currency code, such as EUR.")],
    quote: Annotated[str, typer.Argument(metavar="QUOTE", help="Currency code, such as USD.")],
    day: Day,
    rate: Annotated[
        Decimal | None,
        typer.Argument(
            parser=parse_not_negative, metavar="RATE", help="How many QUOTE one BASE costs."
        ),
    ] = None,
    delete: Delete = False,
    why: Why = None,
    dry_run: DryRun = False,
    show_all: ShowAll = False,
    as_json: Json = False,
) -> None:
    """Replace the stored FX rate of DATE: 1 BASE = RATE QUOTE.

    With --delete it is deleted: the dates that used it use the rate before it, or have none.
    """
    _require_one(rate, "RATE", delete)

    async def correct(database: Connections) -> Correction:
        if rate is None:
            return await corrections.delete_rate(database, base, quote, day)
        return await corrections.rate(database, base, quote, day, rate)

    run_correction(ctx, correct, dry_run, as_json, why, show_all=show_all)


@app.command("position", context_settings=_NUMBERS)
def correct_position(
    ctx: typer.Context,
    portfolio: Portfolio,
    security: Security,
    day: Day,
    quantity: Annotated[
        Decimal,
        typer.Argument(
            parser=parse_decimal,
            metavar="QUANTITY",
            help="Quantity held; negative: short; 0: closed.",
        ),
    ],
    cost_basis_local: Annotated[
        Decimal,
        typer.Argument(
            parser=parse_decimal,
            metavar="COST_LOCAL",
            help="Cost basis in the currency of the security.",
        ),
    ],
    cost_basis: Annotated[
        Decimal,
        typer.Argument(
            parser=parse_decimal,
            metavar="COST",
            help="Cost basis in the base currency of the portfolio.",
        ),
    ],
    why: Why = None,
    dry_run: DryRun = False,
    show_all: ShowAll = False,
    as_json: Json = False,
) -> None:
    """Set the position record of DATE: what is held from that day on. Later records stay."""

    async def correct(database: Connections) -> Correction:
        return await corrections.position(
            database, portfolio, security, day, quantity, cost_basis_local, cost_basis
        )

    run_correction(ctx, correct, dry_run, as_json, why, show_all=show_all)


@app.command("file")
def correct_file(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Parquet or CSV, with the columns of a file of prices, fx_rates or positions; - "
            "reads standard input.",
        ),
    ],
    file_format: Format = None,
    why: Why = None,
    dry_run: DryRun = False,
    show_all: ShowAll = False,
    as_json: Json = False,
) -> None:
    """Replace every price, FX rate or position record of FILE, or none of them.

    Prices and rates must be stored already.
    """

    with opened(file, file_format) as source:

        async def correct(database: Connections) -> FileCorrection:
            return await corrections.file(database, source)

        run_correction(ctx, correct, dry_run, as_json, why, show_all=show_all)


@app.command("split")
def correct_split(
    ctx: typer.Context,
    security: Security,
    day: Day,
    ratio: Annotated[
        str,
        typer.Argument(
            metavar="RATIO", help="New for old, as 4:1; of a reverse split for example 1:10."
        ),
    ],
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Make it though a split of SECURITY was made already, for a date within 30 days.",
        ),
    ] = False,
    all_records: Annotated[
        bool,
        typer.Option(
            "--all-records",
            help="Make it though records seem to have the new quantities already: they are those "
            "before them times RATIO.",
        ),
    ] = False,
    why: Why = None,
    dry_run: DryRun = False,
    show_all: ShowAll = False,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm: do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Multiply the quantities of SECURITY from DATE on, of every holder; their cost stays.

    All position records from DATE on are corrected, and a record on DATE is added where one began
    before. Prices are not touched. It is recorded as a load: `revalue loads revert` takes it back.
    """

    async def correct(database: Connections) -> SplitCorrection:
        return await split(database, security, day, ratio, again=again, all_records=all_records)

    async def look(database: Database) -> SplitCorrection:
        async with rolled_back(database) as inside:
            return await correct(inside)

    if not yes and not dry_run:
        what = f"the quantities of {security} would be multiplied by {ratio} from {day} on"
        require_somebody(f"{what} (--dry-run shows it)")
        _print_split(CliContext.of(ctx).run(look), err)
        require_confirmation(what, confirmed=False)
    run_correction(ctx, correct, dry_run, as_json, why, show_all=show_all)


def _require_one(new: Decimal | None, name: str, delete: bool) -> None:
    if (new is None) is not delete:
        raise UsageError(f"give either {name} or --delete")


def run_correction(
    ctx: typer.Context,
    correct: Correct,
    dry_run: bool,
    as_json: bool,
    why: str | None = None,
    *,
    show_all: bool = False,
) -> None:
    """Make a correction, or preview it; print what it has done or would do."""
    movers = movers_of(dry_run=dry_run, show_all=show_all)
    context = CliContext.of(ctx)
    author = local_author(why)

    async def run(database: Database) -> Corrected | Preview:
        if dry_run:
            with preview_line(show=not as_json) as on_progress:
                return await preview(
                    database, correct, context.settings, movers=movers, on_progress=on_progress
                )
        made = await correct(Signed(database, author))
        corrections.log_correction(made)
        return made

    made = context.run(run)
    if isinstance(made, Preview):
        if as_json:
            correction = asdict(made.correction)
            if "load_id" in correction:
                correction["load_id"] = None  # what is rolled back is no load
            print_json({**made.as_dict(), "correction": correction})
        else:
            print_preview(made, show_all=show_all)
    elif as_json:
        print_json(made)
    else:
        print_correction(made)


def movers_of(*, dry_run: bool, show_all: bool) -> int:
    """Return how many changed positions per base currency a preview is asked for.

    Raises:
        UsageError: all are asked for, and no preview.
    """
    if show_all and not dry_run:
        raise UsageError("--all is about what --dry-run shows: give both, or neither")
    return _ALL_MOVERS if show_all else _MOVERS


def print_correction(made: Made) -> None:
    """Print what was corrected and which positions and dates it can affect."""
    out.print(describe(made))
    if isinstance(made, SplitCorrection):
        _print_split(made)
    triggers = _triggers(made)
    if not triggers:
        out.print("no valued position-day is affected")
        return
    out.print(f"{triggers}: {affected(made)}; run `revalue value`")


def describe(made: Made) -> str:
    """Say in one line what was corrected: `price of A on 2016-03-15 (USD PER_UNIT): 23.9 -> 25`."""
    if isinstance(made, FileCorrection):
        return (
            f"{counted(made.rows, 'row')} of {made.kind}: {made.changed:,} changed, "
            f"{made.unchanged:,} unchanged"
        )
    if isinstance(made, Revert):
        return describe_revert(made)
    if isinstance(made, SplitCorrection):
        return (
            f"split {made.ratio} of {made.security} on {made.date}: "
            f"{counted(made.records, 'record')} of {counted(made.holders, 'position')}"
        )
    if isinstance(made, PolicyCorrection):
        return (
            f"policy: pivot {_becomes(made.old.pivot, made.new.pivot)}, age limit of rates "
            f"{_becomes(made.old.fx_max_age, made.new.fx_max_age)} business days"
        )
    old = "none" if made.old is None else tidy(made.old)
    new = "deleted" if made.new is None else tidy(made.new)
    return f"{made.what}: {old} -> {new}"


def _becomes(old: object, new: object) -> str:
    return str(new) if old == new else f"{old} -> {new}"


def describe_revert(made: Revert, *, is_done: bool = True) -> str:
    """Say in one line which load is taken back, and what becomes of its rows."""
    will = "is" if is_done else "would be"
    text = (
        f"load {made.reverts} ({made.kind}, {made.source}) {will} taken back: "
        f"{made.restored:,} restored, {made.deleted:,} deleted"
    )
    return text + (f", {made.kept:,} changed since and kept" if made.kept else "")


def _print_split(made: SplitCorrection, console: Console | None = None) -> None:
    """Print the first quantities of a split, and what one should look at before it is made."""
    _print_quantities(made, console)
    if made.begin_later:
        (console or out).print(
            f"{counted(made.begin_later, 'position')} of these begin after {made.date}, and are "
            "multiplied too: are their quantities of old shares?"
        )
    if made.price_warning is not None:
        err.print(f"warning: {made.price_warning}")


def _print_quantities(made: SplitCorrection, console: Console | None) -> None:
    title = f"Quantities of {made.security}"
    if made.records > len(made.quantities):
        title += f", the first {len(made.quantities)} of {made.records:,}"
    print_table(
        title,
        ("portfolio", "from", "quantity", "new quantity"),
        [
            (
                each.portfolio_id,
                each.position_date,
                tidy(f"{each.quantity:f}"),
                tidy(f"{each.new_quantity:f}"),
            )
            for each in made.quantities
        ],
        console=console,
    )


def affected(made: Made) -> str:
    """Say which positions and dates a correction can affect at most."""
    positions = f"up to {counted(made.positions, 'position')} affected"
    if not isinstance(made, Correction):
        return positions
    return f"{positions} {on_dates(made.dates)}"


def _triggers(made: Made) -> str:
    if isinstance(made, Correction):
        return "" if made.trigger_id is None else f"trigger {made.trigger_id}"
    if not made.positions:
        return ""
    shown = ", ".join(str(number) for number in made.trigger_ids[:_MAX_TRIGGERS])
    more = len(made.trigger_ids) - _MAX_TRIGGERS
    noun = "trigger" if len(made.trigger_ids) == 1 else "triggers"
    return f"{noun} {shown}" + (f" and {more:,} more" if more > 0 else "")


def print_preview(told: Preview, *, show_all: bool = False) -> None:
    """Print what would be restated, how values would change, and how long it would take.

    Args:
        told: the preview.
        show_all: print each portfolio, and all positions that the preview has.
    """
    out.print(f"{describe(told.correction)} (not written)")
    if isinstance(told.correction, SplitCorrection):
        _print_split(told.correction)
    if not told.positions:
        out.print("no valued position-day would change")
        return
    dates = f" {on_dates([DateRange(told.first_date, told.last_date)])}" if told.first_date else ""
    out.print(
        f"would restate {counted(told.positions, 'position')}, "
        f"{counted(told.position_days, 'position-day')}{dates}; {_time(told.estimate)}"
    )
    print_changes(told, show_all=show_all)
    if told.waiting:
        print_table(
            f"{counted(told.without_value, 'position-day')} would have no value, because data is "
            "missing",
            ("reason", "positions"),
            told.waiting.items(),
        )


def _time(estimate: Estimate | None) -> str:
    if estimate is None:
        return "time unknown: no finished jobs to estimate from"
    larger = (
        "; those jobs were larger, and rows of small jobs take longer"
        if estimate.bound == "at least"
        else ""
    )
    return (
        f"{estimate.bound} {estimate.seconds:,.2g} s, estimated from "
        f"{counted(estimate.jobs, 'recorded job')} ({estimate.rows_per_second:,.0f} rows/s){larger}"
    )
