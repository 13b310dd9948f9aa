"""The tables of a preview: the change in all, and where it is largest."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import groupby

import polars as pl

from revalue.console.cli.output import counted, out, print_table
from revalue.engine.preview.preview import Mover, PortfolioChange, Preview

_LARGEST = 10
_AMOUNTS = ("date", "before", "after", "change")


def print_changes(told: Preview, *, show_all: bool) -> None:
    """Print how the market value would change: the totals, and the ten largest changes.

    Args:
        told: the preview.
        show_all: print each portfolio too, and all positions that the preview has.
    """
    _print_totals(told)
    movers = told.movers if show_all else _largest(told.movers)
    if show_all:
        _print_portfolios(told.portfolios)
    _print_movers(movers)
    if not show_all and told.positions > len(movers):
        out.print(
            f"{len(movers)} of {counted(told.positions, 'position')} of "
            f"{counted(len(told.portfolios), 'portfolio')} are shown: --all shows all, and each "
            "portfolio; --json is for programs"
        )


def _print_totals(told: Preview) -> None:
    """Print the change of all portfolios together; amounts of two currencies have no sum."""
    before, after = pl.col("market_value_before"), pl.col("market_value_after")
    widest = (
        told.values.group_by("base_currency", "date")
        .agg(before.sum(), after.sum())
        .sort("base_currency", (after - before).abs(), "date", descending=[False, True, False])
        .unique("base_currency", keep="first", maintain_order=True)
    )
    reached: dict[str, list[PortfolioChange]] = {}
    for portfolio in told.portfolios:
        reached.setdefault(portfolio.base_currency, []).append(portfolio)
    print_table(
        "Market value of the restated positions, on the date on which it changes most",
        ("currency", "portfolios", "positions", "position-days", *_AMOUNTS),
        [
            (
                currency,
                len(reached[currency]),
                sum(each.positions for each in reached[currency]),
                sum(each.position_days for each in reached[currency]),
                *_amounts(*amounts),
            )
            for currency, *amounts in widest.iter_rows()
        ],
    )


def _print_portfolios(portfolios: Sequence[PortfolioChange]) -> None:
    print_table(
        "By portfolio, each on the date on which it changes most",
        ("portfolio", "currency", "positions", "position-days", *_AMOUNTS),
        [
            (
                each.portfolio_id,
                each.base_currency,
                each.positions,
                each.position_days,
                *_amounts(each.date, each.market_value_before, each.market_value_after),
            )
            for each in sorted(portfolios, key=lambda one: (one.base_currency, -abs(one.change)))
        ],
    )


def _print_movers(movers: Sequence[Mover]) -> None:
    print_table(
        "Largest changes of a position",
        ("portfolio", "security", "currency", *_AMOUNTS),
        [
            (
                each.portfolio_id,
                each.security_id,
                each.base_currency,
                *_amounts(each.date, each.market_value_before, each.market_value_after),
            )
            for each in movers
        ],
    )


def _amounts(day: date, before: Decimal, after: Decimal) -> tuple[object, ...]:
    return day, f"{before:,.2f}", f"{after:,.2f}", f"{after - before:+,.2f}"


def _largest(movers: Sequence[Mover]) -> list[Mover]:
    """Return the ten largest, of each currency its largest first.

    Args:
        movers: by base currency, of each the largest change first.
    """
    by_currency = [list(own) for _, own in groupby(movers, lambda each: each.base_currency)]
    ranked = sorted(
        (rank, number) for number, own in enumerate(by_currency) for rank in range(len(own))
    )
    shown = Counter(number for _, number in ranked[:_LARGEST])
    return [each for number, own in enumerate(by_currency) for each in own[: shown[number]]]
