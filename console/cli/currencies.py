"""`revalue currencies`: the currencies and quotation units that data may use."""

from typing import Annotated

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.context import CliContext
from revalue.console.cli.groups import read_unless_called
from revalue.console.cli.output import out, print_json, print_table
from revalue.engine.correct.policy.currencies import Currency, add_currency, list_currencies
from revalue.engine.postgres.database import Database

app = typer.Typer(invoke_without_command=True)


@app.callback()
def currencies(ctx: typer.Context, as_json: Json = False) -> None:
    """List the currencies, and the units in which prices are quoted, such as pence.

    `revalue currencies add` adds one.
    """
    found = read_unless_called(ctx, list_currencies, as_json=as_json)
    if found is None:
        return
    units = [each for each in found if each.units_per_major > 1]
    majors = [each.currency for each in found if each.units_per_major == 1]
    out.print(f"{len(majors)} currencies: {' '.join(majors)}")
    print_table("Quotation units", ("unit", "of", "units of it are 1"), [_line(u) for u in units])


@app.command("add")
def add(
    ctx: typer.Context,
    code: Annotated[
        str,
        typer.Argument(
            metavar="CODE", help="Three letters, the first two of them capitals, such as XAU."
        ),
    ],
    unit_of: Annotated[
        str | None,
        typer.Option(metavar="CURRENCY", help="The currency of which CODE is a quotation unit."),
    ] = None,
    units: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            help="How many CODE are one unit of that currency: a power of ten. Default: 100.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Add a currency, or with --unit-of a unit in which prices of it are quoted.

    One that is there already as given stays as it is. For the owner of the tables.
    """
    number = units if units is not None else 1 if unit_of is None else 100

    async def run(database: Database) -> bool:
        return await add_currency(database, code, unit_of=unit_of, units=number)

    is_new = CliContext.of(ctx).run(run)
    added = Currency(code, unit_of or code, number)
    if as_json:
        print_json({**vars(added), "is_new": is_new})
        return
    what = "is a currency" if unit_of is None else f"is a unit of {unit_of}: {number:,} are 1"
    out.print(f"{code} {what}" + ("" if is_new else " (it was there already)"))


def _line(unit: Currency) -> tuple[object, ...]:
    return unit.currency, unit.major_currency, unit.units_per_major
