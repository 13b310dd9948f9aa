"""What a preview reports: changes of portfolios and positions, added up page by page."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import polars as pl

from revalue.engine.errors import PreviewTooLargeError

MAX_PORTFOLIO_DAYS = 5_000_000
"""The largest number of pairs of portfolio and date: their sums are held in memory."""

_TOTAL = pl.Decimal(38, 10)
_KEY = ("portfolio_id", "base_currency", "date")
_VALUES = {
    "portfolio_id": pl.String(),
    "base_currency": pl.String(),
    "date": pl.Date(),
    "market_value_before": _TOTAL,
    "market_value_after": _TOTAL,
}
_MOVER = ("portfolio_id", "security_id", "base_currency", "date")
_ADDED_PAGES = 8


@dataclass(frozen=True)
class PortfolioChange:
    """How much a correction changes a portfolio, on the date on which it changes most.

    Attributes:
        portfolio_id: the portfolio.
        base_currency: the currency of the market values.
        positions: its positions that would be revalued.
        position_days: their position-days that would be revalued and have a value.
        date: the date on which the sum of the market values changes most.
        market_value_before: of the positions that would be revalued on that date, now.
        market_value_after: the same after the correction.
    """

    portfolio_id: str
    base_currency: str
    positions: int
    position_days: int
    date: date
    market_value_before: Decimal
    market_value_after: Decimal

    @property
    def change(self) -> Decimal:
        """market_value_after - market_value_before."""
        return self.market_value_after - self.market_value_before


@dataclass(frozen=True)
class Mover:
    """A position on the date on which its market value (base currency) changes most.

    A missing value counts as 0: before, if the date is not valued yet; after, if the position is
    not open on it any more.
    """

    portfolio_id: str
    security_id: str
    base_currency: str
    date: date
    market_value_before: Decimal
    market_value_after: Decimal

    @property
    def change(self) -> Decimal:
        """market_value_after - market_value_before."""
        return self.market_value_after - self.market_value_before


@dataclass(frozen=True)
class ValuedPage:
    """What a page of positions would have.

    Attributes:
        rows: position_id, date, market_value.
        holes: position_id, first_date, last_date (both included) and rows, the number of business
            days: dates without a value, because data is missing or the value is too large.
        reasons: position_id and failure_reason of the positions that have holes or fail.
        failed: position_id of those that would not be valued, because of an unexpected error.
    """

    rows: pl.DataFrame
    holes: pl.DataFrame
    reasons: pl.DataFrame
    failed: pl.Series


class Changes:
    """The sums over all pages. Each position is in one page, with all of its dates.

    without_value: number of position-days that would have no value.
    """

    def __init__(self, positions: pl.DataFrame, movers: int) -> None:
        """Begin with no page.

        Args:
            positions: position_id, portfolio_id, security_id, base_currency.
            movers: how many movers per base currency, at most.
        """
        self._positions = positions
        self._limit = movers
        self._sums: list[pl.DataFrame] = []
        self._counts: list[pl.DataFrame] = []
        self._widest: list[pl.DataFrame] = []
        self._waiting: dict[str, int] = {}
        self.without_value = 0

    def add(self, before: pl.DataFrame, valued: ValuedPage) -> None:
        """Add a page.

        Args:
            before: position_id, date, market_value: what readers see now.
            valued: what they would see.

        Raises:
            PreviewTooLargeError: there are too many portfolios and dates to add up.
        """
        for reason, count in valued.reasons.group_by("failure_reason").len().iter_rows():
            self._waiting[reason] = self._waiting.get(reason, 0) + count
        self.without_value += int(valued.holes["rows"].sum())
        lines = self._lines(before, valued)
        if lines.is_empty():
            return
        self._counts.append(
            lines.group_by("portfolio_id").agg(
                positions=pl.col("position_id").n_unique(), position_days=pl.len()
            )
        )
        self._sums.append(
            lines.group_by(_KEY).agg(
                market_value_before=pl.col("before").sum(),
                market_value_after=pl.col("after").sum(),
            )
        )
        self._widest.append(_widest(lines, self._limit))
        if len(self._sums) > _ADDED_PAGES:
            self._add_up()

    @property
    def waiting(self) -> dict[str, int]:
        """Number of positions with a date without a value, or that fail, by the reason."""
        return dict(sorted(self._waiting.items()))

    def values(self) -> pl.DataFrame:
        """Return the sums by portfolio and date; see preview.Preview."""
        self._add_up()
        return pl.concat([pl.DataFrame(schema=_VALUES), *self._sums]).sort("portfolio_id", "date")

    def portfolios(self, values: pl.DataFrame) -> list[PortfolioChange]:
        """Return the change of each portfolio.

        Args:
            values: what `values` returned.
        """
        if values.is_empty():
            return []
        change = pl.col("market_value_after") - pl.col("market_value_before")
        widest = (
            values.sort("portfolio_id", change.abs(), "date", descending=[False, True, True])
            .unique("portfolio_id", keep="first", maintain_order=True)
            .join(self._counts[0], on="portfolio_id", maintain_order="left")
        )
        return [PortfolioChange(**row) for row in widest.iter_rows(named=True)]

    def movers(self) -> list[Mover]:
        """Return the biggest changes per base currency, the biggest first."""
        self._add_up()
        return [Mover(**row) for part in self._widest for row in part.iter_rows(named=True)]

    def _lines(self, before: pl.DataFrame, valued: ValuedPage) -> pl.DataFrame:
        """Return the market value before and after of each position and date; 0 where missing.

        Dates that would have no value and positions that would fail are left out: their change is
        unknown.
        """
        zero = pl.lit(0).cast(_TOTAL)
        lines = (
            before.select("position_id", "date", before="market_value")
            .join(
                valued.rows.select("position_id", "date", after="market_value"),
                on=["position_id", "date"],
                how="full",
                coalesce=True,
            )
            .filter(~pl.col("position_id").is_in(valued.failed.implode()))
        )
        if len(valued.holes):
            lacking = (
                lines.select("position_id", "date")
                .join(valued.holes, on="position_id")
                .filter(pl.col("date").is_between("first_date", "last_date"))
            )
            lines = lines.join(lacking, on=["position_id", "date"], how="anti")
        return lines.join(self._positions, on="position_id").with_columns(
            pl.col("before", "after").cast(_TOTAL).fill_null(zero)
        )

    def _add_up(self) -> None:
        """Reduce the sums of several pages to one frame each."""
        if len(self._sums) < 2:
            return
        values = ("market_value_before", "market_value_after")
        self._sums = [pl.concat(self._sums).group_by(_KEY).agg(pl.col(values).sum())]
        self._counts = [
            pl.concat(self._counts)
            .group_by("portfolio_id")
            .agg(pl.col("positions", "position_days").sum())
        ]
        self._widest = [_largest(pl.concat(self._widest), self._limit)]
        if len(self._sums[0]) > MAX_PORTFOLIO_DAYS:
            raise PreviewTooLargeError(
                f"the preview would add up {len(self._sums[0]):,} pairs of portfolio and date, of "
                f"{MAX_PORTFOLIO_DAYS:,} at most. Preview corrections of fewer dates at once"
            )


def _widest(lines: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Return the largest movers: of each position the date on which it changes most."""
    change = (pl.col("after") - pl.col("before")).abs()
    widest = (
        lines.filter(pl.col("after") != pl.col("before"))
        .sort("position_id", change, "date", descending=[False, True, True])
        .unique("position_id", keep="first", maintain_order=True)
        .select(*_MOVER, market_value_before="before", market_value_after="after")
    )
    return _largest(widest, limit)


def _largest(movers: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Return the first `limit` movers per base currency, the largest change first.

    Per currency, because amounts of two currencies cannot be compared.
    """
    change = (pl.col("market_value_after") - pl.col("market_value_before")).abs()
    return (
        movers.sort(
            "base_currency",
            change,
            "portfolio_id",
            "security_id",
            descending=[False, True, False, False],
        )
        .group_by("base_currency", maintain_order=True)
        .head(limit)
        .select(*_MOVER, "market_value_before", "market_value_after")
    )
