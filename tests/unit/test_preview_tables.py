"""A preview as a person reads it: the totals and the ten largest changes, or all of them."""

import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from revalue.console.cli.preview_tables import print_changes
from revalue.engine.preview.changes import Mover, PortfolioChange
from revalue.engine.preview.preview import Preview

DAY = date(2024, 3, 5)
NEXT = DAY + timedelta(days=1)
LINES = [  # portfolio, currency, change on DAY, change on NEXT
    *((f"E{n:02}", "EUR", Decimal(n), Decimal(-1)) for n in range(1, 13)),
    ("USD-1", "USD", Decimal(1000), Decimal(-5000)),
    ("USD-2", "USD", Decimal(2000), Decimal(1000)),
]


def preview() -> Preview:
    """Of each portfolio one position is restated, on two days, from 100 each."""

    def widest(day: Decimal, following: Decimal) -> dict[str, Any]:
        on = DAY if abs(day) >= abs(following) else NEXT
        return {
            "date": on,
            "market_value_before": Decimal(100),
            "market_value_after": 100 + (day if on == DAY else following),
        }

    values = [
        (name, currency, on, Decimal(100), 100 + change)
        for name, currency, *changes in LINES
        for on, change in zip((DAY, NEXT), changes, strict=True)
    ]
    columns = "portfolio_id base_currency date market_value_before market_value_after".split()
    return Preview(
        correction=None,
        positions=len(LINES),
        position_days=2 * len(LINES),
        first_date=DAY,
        last_date=NEXT,
        portfolios=[
            PortfolioChange(name, currency, 1, 2, **widest(*changes))
            for name, currency, *changes in LINES
        ],
        movers=[
            Mover(name, "ACME", currency, **widest(*changes))
            for name, currency, *changes in sorted(
                LINES, key=lambda line: (line[1], -max(abs(line[2]), abs(line[3])))
            )
        ],
        waiting={},
        without_value=0,
        estimate=None,
        values=pl.DataFrame(values, schema=columns, orient="row").with_columns(
            pl.col(columns[3:]).cast(pl.Decimal(38, 10))
        ),
    )


def shown(capsys: pytest.CaptureFixture[str], *, show_all: bool) -> dict[str, list[list[str]]]:
    """The cells of the lines of each table, by its title, and the last line under its own text."""
    print_changes(preview(), show_all=show_all)
    tables: dict[str, list[list[str]]] = {}
    title = ""
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("│"):
            tables[title].append([cell.strip() for cell in line.strip("│").split("│")])
        elif re.match(r"\w", line):
            title = line.strip()
            tables[title] = []
    return tables


def test_the_totals_and_the_ten_largest_changes_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tables = shown(capsys, show_all=False)
    assert list(tables) == [
        "Market value of the restated positions, on the date on which it changes most",
        "Largest changes of a position",
        "10 of 14 positions of 14 portfolios are shown: --all shows all, and each portfolio; "
        "--json is for programs",
    ]
    totals, largest, _ = tables.values()
    assert totals == [
        ["EUR", "12", "12", "24", str(DAY), "1,200.00", "1,278.00", "+78.00"],
        ["USD", "2", "2", "4", str(NEXT), "200.00", "-3,800.00", "-4,000.00"],
    ]
    # Of each currency its largest, because euros and dollars cannot be compared.
    assert [line[0] for line in largest] == [
        *("E12", "E11", "E10", "E09", "E08", "E07", "E06", "E05"),
        *("USD-1", "USD-2"),
    ]
    assert largest[-2:] == [
        ["USD-1", "ACME", "USD", str(NEXT), "100.00", "-4,900.00", "-5,000.00"],
        ["USD-2", "ACME", "USD", str(DAY), "100.00", "2,100.00", "+2,000.00"],
    ]


def test_all_portfolios_and_positions_are_shown_if_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tables = shown(capsys, show_all=True)
    assert "By portfolio, each on the date on which it changes most" in tables
    _, portfolios, movers = tables.values()
    assert len(movers) == len(LINES)
    assert [line[0] for line in portfolios[-2:]] == ["USD-1", "USD-2"]
    assert [line[0] for line in portfolios[:2]] == ["E12", "E11"]
