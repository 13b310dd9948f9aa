"""Market data as of a date: the last known price and FX rate, with their age in business days.

The rules are sections 2 and 3 of docs/valuation.md: a direct rate, else an inverse one, else a
cross rate. Currencies, calendars and instruments are numbers here, so that joins are on integers.
"""

from dataclasses import dataclass

import polars as pl

from revalue.engine.core.calendar import last_business_day
from revalue.engine.core.decimals import RATE, product, reciprocal
from revalue.engine.core.lifecycle import FailureReason

PATH_SAME, PATH_DIRECT, PATH_INVERSE = 0, 1, 2
_PATH_CROSS, _PATH_FIRST_LEG = 16, 4
_PAIR_FACTOR = 65_536  # more than any currency number, which is an i16


@dataclass(frozen=True)
class Market:
    """The market data and reference data of a valuation.

    business_days: see engine.core.calendar.
    currencies: currency_no (i16), major_no (i16), units_per_major (i32: a power of ten).
    instruments: instrument_no (i32), currency_no (i16), contract_multiplier (Decimal(38,6), null:
        none), max_price_age_sessions (i32, business days).
    prices: instrument_no (i32), price_date, price (AMOUNT, as quoted), currency_no (i16, of the
        quotation), quote_basis (text).
    rates: base_no, quote_no (i16), rate_date, rate (RATE: quote units per 1 base unit).
    pivot_no: the currency that cross rates go through.
    fx_max_age: largest allowed age of a rate, in business days.
    """

    business_days: pl.DataFrame
    currencies: pl.DataFrame
    instruments: pl.DataFrame
    prices: pl.DataFrame
    rates: pl.DataFrame
    pivot_no: int
    fx_max_age: int


def encode_pair(base: str, quote: str) -> pl.Expr:
    """Return the numbers of two currencies, in the columns of these names, as one i64."""
    return pl.col(base).cast(pl.Int64) * _PAIR_FACTOR + pl.col(quote).cast(pl.Int64)


def decode_pair(pair: str) -> tuple[pl.Expr, pl.Expr]:
    """Return base and quote number (i64) of the pairs in the column of this name."""
    return pl.col(pair) // _PAIR_FACTOR, pl.col(pair) % _PAIR_FACTOR


def unit_prices(market: Market, wanted: pl.DataFrame) -> pl.DataFrame:
    """Return the unit price of each wanted instrument as of each wanted date.

    Args:
        wanted: calendar_no, instrument_no, date, day_no; distinct rows.

    Returns:
        calendar_no, instrument_no and date of `wanted`, with
        price: RATE, price of one unit in the instrument's currency. Null without a price_problem:
            it does not fit.
        price_date: date of the quotation.
        price_fx_date: date of the rate that converted a quotation in another currency, else null.
        price_problem: a FailureReason, or null.
        price_problem_pair: the pair of a missing rate (`encode_pair`).
    """
    quotes = _unit_quotes(market, wanted)
    rows = (
        wanted.sort("date")
        .join_asof(
            quotes.sort("price_date"),
            left_on="date",
            right_on="price_date",
            by=["calendar_no", "instrument_no"],
            strategy="backward",
            coalesce=False,
            check_sortedness=False,
        )
        .join(market.instruments, on="instrument_no", how="left", maintain_order="left")
    )
    age = pl.col("day_no") - pl.col("price_day_no")
    foreign = rows.select(
        "calendar_no", "date", "day_no", from_no="quoted_no", to_no="currency_no"
    ).filter(pl.col("from_no").is_not_null() & (pl.col("from_no") != pl.col("to_no")))
    rates = conversion_rates(market, foreign.unique())
    rows = rows.join(
        rates.select(
            "calendar_no",
            "date",
            "to_no",
            quoted_no="from_no",
            price_fx="fx_rate",
            price_fx_date="fx_date",
        ),
        left_on=["calendar_no", "date", "quoted_no", "currency_no"],
        right_on=["calendar_no", "date", "quoted_no", "to_no"],
        how="left",
        maintain_order="left",
    )
    is_foreign = pl.col("quoted_no") != pl.col("currency_no")
    rows = rows.with_columns(
        price_problem=pl.when(pl.col("price_date").is_null())
        .then(pl.lit(FailureReason.PRICE_MISSING.value))
        .when((age > pl.col("max_price_age_sessions")) | pl.col("price_day_no").is_null())
        .then(pl.lit(FailureReason.PRICE_TOO_OLD.value))
        .when(pl.col("no_multiplier"))
        .then(pl.lit(FailureReason.CONTRACT_MULTIPLIER_MISSING.value))
        .when(is_foreign & pl.col("price_fx").is_null())
        .then(pl.lit(FailureReason.FX_MISSING.value)),
        price_problem_pair=encode_pair("quoted_no", "currency_no"),
    )
    price = rows["quoted_price"]
    if rows.select(is_foreign.any()).item():
        price = price.zip_with(
            ~rows.select(is_foreign.fill_null(False)).to_series(),
            product(price, rows["price_fx"], 18),
        )
    return rows.with_columns(_positive(price).alias("price")).select(
        "calendar_no",
        "instrument_no",
        "date",
        "price",
        "price_date",
        "price_fx_date",
        "price_problem",
        "price_problem_pair",
    )


def conversion_rates(market: Market, wanted: pl.DataFrame) -> pl.DataFrame:
    """Return the rate of each wanted conversion: units of `to` per 1 unit of `from`.

    Args:
        wanted: calendar_no, from_no, to_no, date, day_no; distinct rows.

    Returns:
        calendar_no, from_no, to_no and date of `wanted`, with
        fx_rate: RATE; null: FX_MISSING. 1 from a currency to itself.
        fx_date: date of the rate, of a cross the earlier one; null from a currency to itself.
        fx_path: i16, PATH_SAME, PATH_DIRECT, PATH_INVERSE or a cross (pivot and both legs).
    """
    pivot = pl.lit(market.pivot_no, dtype=pl.Int16)
    pairs = wanted.filter(pl.col("from_no") != pl.col("to_no"))
    at = ["calendar_no", "date", "day_no"]
    crossing = pairs.filter((pl.col("from_no") != pivot) & (pl.col("to_no") != pivot))
    legs = _legs(
        market,
        pl.concat(
            [
                pairs.select(*at, "from_no", "to_no"),
                crossing.select(*at, "from_no", pivot.alias("to_no")),
                crossing.select(*at, pivot.alias("from_no"), "to_no"),
            ]
        ).unique(),
    )
    to_pivot = legs.filter(pl.col("to_no") == pivot).drop("to_no")
    from_pivot = legs.filter(pl.col("from_no") == pivot).drop("from_no")
    day = ["calendar_no", "date"]
    rows = (
        wanted.join(legs, on=[*day, "from_no", "to_no"], how="left", maintain_order="left")
        .join(to_pivot, on=[*day, "from_no"], how="left", suffix="_1", maintain_order="left")
        .join(from_pivot, on=[*day, "to_no"], how="left", suffix="_2", maintain_order="left")
    )
    cross = product(rows["rate_1"], rows["rate_2"], 18)
    rows = rows.with_columns(_positive(cross).alias("cross"))
    same, direct = pl.col("from_no") == pl.col("to_no"), pl.col("rate").is_not_null()
    cross_path = _PATH_CROSS * pivot + _PATH_FIRST_LEG * pl.col("path_1") + pl.col("path_2")
    return rows.select(
        "calendar_no",
        "from_no",
        "to_no",
        "date",
        fx_rate=pl.when(same)
        .then(pl.lit(1).cast(RATE))
        .when(direct)
        .then("rate")
        .otherwise("cross"),
        fx_date=pl.when(same)
        .then(None)
        .when(direct)
        .then("rate_date")
        .otherwise(pl.min_horizontal("rate_date_1", "rate_date_2")),
        fx_path=pl.when(same)
        .then(pl.lit(PATH_SAME, dtype=pl.Int16))
        .when(direct)
        .then("path")
        .when(pl.col("cross").is_not_null())
        .then(cross_path),
    )


def _unit_quotes(market: Market, wanted: pl.DataFrame) -> pl.DataFrame:
    """Return every price of the wanted instruments as a unit price in a major currency.

    quoted_price is RATE, quoted_no the major currency of the quotation.
    """
    quotes = (
        wanted.select("calendar_no", "instrument_no")
        .unique()
        .join(market.prices, on="instrument_no")
        .join(market.instruments.select("instrument_no", "contract_multiplier"), on="instrument_no")
        .join(
            market.currencies.with_columns(unit=reciprocal(market.currencies["units_per_major"])),
            on="currency_no",
        )
    )
    hundredth = pl.lit("0.01").cast(pl.Decimal(38, 8))
    one = pl.lit(1).cast(pl.Decimal(38, 8))
    basis = (
        pl.when(pl.col("quote_basis") == "PERCENT_OF_PAR")
        .then(hundredth)
        .when(pl.col("quote_basis") == "PER_CONTRACT")
        .then(pl.col("contract_multiplier").cast(pl.Decimal(38, 8)))
        .otherwise(one)
    )
    quotes = quotes.with_columns(basis=basis)
    # Exact: a multiplier has 6 places, and a power of ten up to 10^9 divides into 9. So the unit
    # price is rounded once.
    factor = product(quotes["basis"], quotes["unit"], 15)
    quotes = quotes.with_columns(
        product(quotes["price"], factor, 18).alias("quoted_price"),
        no_multiplier=(pl.col("quote_basis") == "PER_CONTRACT")
        & pl.col("contract_multiplier").is_null(),
    )
    return last_business_day(
        quotes, market.business_days, on="price_date", name="price_day_no"
    ).select(
        "calendar_no",
        "instrument_no",
        "price_date",
        "quoted_price",
        "price_day_no",
        "no_multiplier",
        quoted_no="major_no",
    )


def _positive(values: pl.Series) -> pl.Series:
    """Return the values, null where they were rounded to 0.

    A rate or price of 0 would give a value of 0 that looks right.
    """
    return values.zip_with(
        (values > 0).fill_null(False), pl.repeat(None, len(values), dtype=values.dtype, eager=True)
    )


def _legs(market: Market, wanted: pl.DataFrame) -> pl.DataFrame:
    """Return the quoted rate of each pair, else the reciprocal of the opposite pair's rate.

    Pairs with neither are left out.
    """
    direct = _last_known_rates(market, wanted, "from_no", "to_no")
    opposite = _last_known_rates(market, wanted, "to_no", "from_no")
    rows = wanted.join(
        direct, on=["calendar_no", "date", "from_no", "to_no"], how="left", maintain_order="left"
    ).join(
        opposite,
        on=["calendar_no", "date", "from_no", "to_no"],
        how="left",
        suffix="_opposite",
        maintain_order="left",
    )
    rows = rows.with_columns(reciprocal(rows["rate_opposite"]).alias("inverse"))
    is_direct = pl.col("rate").is_not_null()
    return rows.select(
        "calendar_no",
        "date",
        "from_no",
        "to_no",
        path=pl.when(is_direct).then(PATH_DIRECT).otherwise(PATH_INVERSE).cast(pl.Int16),
        rate=pl.coalesce("rate", "inverse"),
        rate_date=pl.when(is_direct).then("rate_date").otherwise("rate_date_opposite"),
    ).filter(pl.col("rate").is_not_null())


def _last_known_rates(market: Market, wanted: pl.DataFrame, base: str, quote: str) -> pl.DataFrame:
    """Return the last known rate of the pair in the columns `base` and `quote`, if young enough.

    Columns: calendar_no, date, from_no, to_no, rate, rate_date.
    """
    found = (
        wanted.with_columns(base_no=pl.col(base), quote_no=pl.col(quote))
        .sort("date")
        .join_asof(
            market.rates.sort("rate_date"),
            left_on="date",
            right_on="rate_date",
            by=["base_no", "quote_no"],
            strategy="backward",
            coalesce=False,
            check_sortedness=False,
        )
    )
    aged = last_business_day(
        found.filter(pl.col("rate").is_not_null()),
        market.business_days,
        on="rate_date",
        name="rate_day_no",
    )
    young = pl.col("day_no") - pl.col("rate_day_no") <= market.fx_max_age
    return aged.filter(young.fill_null(False)).select(
        "calendar_no", "date", "from_no", "to_no", "rate", "rate_date"
    )
