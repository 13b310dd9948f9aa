"""How far prices, rates and values have moved, and what each is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import polars as pl

from revalue.engine.core.decimals import AMOUNT
from revalue.engine.correct.confirmations.confirmations import Against, Confirmable
from revalue.engine.errors import CorrectionRefusedError, NotFoundError, UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.read import report
from revalue.engine.read.last_before import LastBefore, last_before
from revalue.engine.read.report import Wanted


@dataclass(frozen=True)
class MoveColumns:
    """The columns of `with_moves` that say what a price or a rate is compared with.

    Attributes:
        subject: of what it is.
        now: the price or rate.
        before: what it is compared with; null: nothing, or something that cannot be compared.
        percent: by how much it moved.
        is_incomparable: whether there is a number before that cannot be compared.
    """

    subject: str
    now: str
    before: str
    percent: str
    is_incomparable: pl.Expr


PAIR = pl.format("{}/{}", "local_currency", "base_currency")
"""The name of the pair of currencies of a row."""

MOVES = {
    Confirmable.PRICE: MoveColumns(
        "security_id", "price", "price_before", "price_move", pl.col("is_incomparable")
    ),
    Confirmable.RATE: MoveColumns(
        "pair", "fx_rate", "rate_before", "rate_move", pl.lit(value=False)
    ),
}


def with_moves(
    rows: pl.DataFrame, before: pl.DataFrame, last: LastBefore, first_dates: Sequence[date] = ()
) -> pl.DataFrame:
    """Return the positions of a date with what their numbers are compared with.

    A price or rate is compared with the one that its position showed on the business date before;
    if it showed none, with the last one that is stored before its own date, however old. A position
    that was not open then had a value of 0.

    Args:
        rows: of report.positions: the date.
        before: the same of the business date before, of each calendar.
        last: what was stored before the prices and rates that have no number of the date before.
        first_dates: dates that have no business date before: no position of theirs is new.

    Returns:
        The rows, and:

        * price_before, rate_before: as for `price` and `fx_rate`; null: there is none, or it is
          quoted in another currency (is_incomparable);
        * value_before, change: of market_value; known_value: market_value, or that of before;
        * price_move, rate_move, value_move: in percent, to four decimals (Float64); null: from 0;
        * pair: LOCAL/BASE; position: portfolio and security.
    """
    return (
        rows.join(
            before.select(
                "portfolio_id",
                "security_id",
                price_before="price",
                rate_before="fx_rate",
                value_before="market_value",
                was_open=pl.lit(value=True),
            ),
            on=["portfolio_id", "security_id"],
            how="left",
        )
        .join(
            last.prices.with_columns(is_known=pl.lit(value=True)),
            on=["security_id", "price_date"],
            how="left",
        )
        .join(last.rates, on=["local_currency", "base_currency", "fx_date"], how="left")
        .with_columns(
            price_before=pl.coalesce("price_before", "last_price"),
            rate_before=pl.coalesce("rate_before", "last_rate"),
            known_value=pl.coalesce("market_value", "value_before"),
            value_before=pl.when(pl.col("was_open") | pl.col("date").is_in(list(first_dates)))
            .then("value_before")
            .otherwise(pl.lit(0, dtype=AMOUNT)),
        )
        .with_columns(
            change=pl.col("market_value") - pl.col("value_before"),
            is_incomparable=pl.col("is_known") & pl.col("price_before").is_null(),
            pair=PAIR,
            position=pl.format("{} / {}", "portfolio_id", "security_id"),
            price_move=_percent("price", "price_before"),
            rate_move=_percent("fx_rate", "rate_before"),
            value_move=_percent("market_value", "value_before"),
        )
    )


def _percent(now: str, before: str) -> pl.Expr:
    """Return by how much a number moved: a measure to look at, so floats are exact enough."""
    was = pl.col(before).cast(pl.Float64)
    moved = (pl.col(now).cast(pl.Float64) / was.abs() - was.sign()) * 100
    return pl.when(was != 0).then(moved.round(4))


@dataclass(frozen=True)
class ShownMove:
    """A price or rate as positions show it on a date, and what it is compared with.

    Attributes:
        what: which price or rate on which date, in words.
        values: what positions show; more than one while a correction is in progress.
        pairs: each value with a value before it that is compared; None: one that cannot be.
        is_in_progress: whether positions are being corrected, so that another value may come.
    """

    what: str
    values: tuple[Decimal, ...]
    pairs: tuple[tuple[Decimal, Decimal | None], ...]
    is_in_progress: bool

    @property
    def value(self) -> Decimal:
        """The price or rate that all positions show.

        Raises:
            UsageError: not all show the same, because a correction is in progress.
        """
        if len(self.values) > 1:
            raise UsageError(
                f"positions do not show the same {self.what}: {_listed(self.values)}. A correction "
                "is in progress: run `revalue value`, or say which value it is"
            )
        return self.values[0]

    def against(self, value: Decimal, value_before: Decimal | None) -> Against:
        """Return the values before against which a value is confirmed.

        Args:
            value: the price or rate that was looked at. While a correction is in progress, it may
                be one that is not shown yet, and is then compared with what is before those shown.
            value_before: the value before that was looked at; None: all that are shown.

        Raises:
            NotFoundError: there is nothing before it.
            CorrectionRefusedError: it is not shown, or not compared with `value_before`, any more.
        """
        if value not in self.values and not self.is_in_progress:
            raise CorrectionRefusedError(
                f"the {self.what} is {_listed(self.values)} now, and not {_plain(value)}: it has "
                "been corrected meanwhile. Nothing is confirmed: list the exceptions again"
            )
        of_value = [before for now, before in self.pairs if now == value]
        shown = frozenset(of_value or [before for _, before in self.pairs])
        if not shown:
            raise NotFoundError(
                f"nothing is stored before the {self.what}: it has not moved, so there is nothing "
                "to confirm"
            )
        if value_before is None:
            return Against(shown, shown)
        if value_before not in shown:
            raise CorrectionRefusedError(
                f"the {self.what} is compared with {_listed(shown)} now, and no longer with "
                f"{_plain(value_before)}: what was before it has been corrected meanwhile. Nothing "
                "is confirmed: list the exceptions again"
            )
        return Against(frozenset({value_before}), shown)


async def shown_move(
    database: Database,
    kind: Confirmable,
    subject: str,
    day: date,
    *,
    most: int | None = None,
) -> ShownMove:
    """Return the price or rate that readers see on a date, and what it is compared with.

    Args:
        database: the database.
        kind: whether it is a price or a rate.
        subject: a security, or a pair of currencies LOCAL/BASE.
        day: a business date.
        most: refuse a rate of a book with more positions than this: all are read to find it. None:
            any number.

    Raises:
        NotFoundError: no position shows it on that date.
        ReportTooLargeError: the book has more positions than `most`.
    """
    wanted, of = Wanted(day), MOVES[kind]
    if kind is Confirmable.PRICE:
        wanted, most = Wanted(day, securities=(subject,)), None
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        read = await report.positions_and_before(connection, wanted, most=most)
        rows = read.rows.with_columns(pair=PAIR).filter(
            (pl.col("date") == day) & (pl.col(of.subject) == subject) & pl.col(of.now).is_not_null()
        )
        last = await last_before(connection, rows, read.before)
    moved = with_moves(rows, read.before, last)
    what = f"{kind.value.lower()} of {subject} on {day}"
    if moved.is_empty():
        raise NotFoundError(f"no position shows a {what}")
    compared = moved.filter(pl.col(of.before).is_not_null() | of.is_incomparable)
    return ShownMove(
        what,
        tuple(moved[of.now].unique().sort()),
        tuple(compared.select(of.now, of.before).unique().iter_rows()),
        bool((moved["reprocessing_status"] == "IN_PROGRESS").any()),
    )


def _listed(values: frozenset[Decimal | None] | tuple[Decimal, ...]) -> str:
    """Name values in their order; one that cannot be compared comes last."""
    shown = [_plain(each) for each in sorted(each for each in values if each is not None)]
    return ", ".join(shown + ["one in another currency"] * (None in values))


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
