"""How a split is printed: the first quantities, and what to look at before it is made."""

from rich.console import Console

from revalue.console.cli.output import counted, out, print_table, print_warnings, tidy
from revalue.engine.correct.splits.splits import SplitCorrection


def print_split(made: SplitCorrection, console: Console | None = None) -> None:
    """Print the first quantities of a split, and what one should look at before it is made."""
    _print_quantities(made, console)
    if made.begin_later:
        (console or out).print(
            f"{counted(made.begin_later, 'position')} of these begin after {made.date}, and are "
            "multiplied too: are their quantities of old shares?"
        )
    print_warnings([] if made.price_warning is None else [made.price_warning])
    print_warnings(made.warnings)


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
