"""Exact decimal arithmetic on polars columns: products are rounded once, half-even.

polars rounds a product half-even to the larger of the two scales. To round the exact product once,
to any number of places, both operands keep their integers and get another scale, so that polars
drops exactly the digits beyond that place: (a / 10^s1) * (b / 10^s2) to p places is
round(a * b / 10^(s1 + s2 - p)).
"""

import polars as pl
import pyarrow as pa

AMOUNT = pl.Decimal(38, 10)
"""Quantities, values, cost bases, prices as quoted: NUMERIC(28,10) in PostgreSQL."""

RATE = pl.Decimal(38, 18)
"""FX rates and unit prices: NUMERIC(38,18) in PostgreSQL."""

LIMIT = 10**18
"""Amounts, unit prices and rates stay below this: NUMERIC(28,10) has 18 digits before the point."""

_LIMIT_ESTIMATE = 1.000001e18


def product(a: pl.Series, b: pl.Series, places: int) -> pl.Series:
    """Return round_half_even(a * b, places) as Decimal(38, places).

    Null where an operand is null or the result reaches LIMIT in absolute value.
    """
    # polars raises for the whole column when one product is far too large. Such rows are removed by
    # an estimate first; the exact limit is checked afterwards.
    fits = (a.cast(pl.Float64) * b.cast(pl.Float64)).abs() < _LIMIT_ESTIMATE
    if not fits.all():
        a = a.zip_with(fits.fill_null(False), pl.repeat(None, len(a), dtype=a.dtype, eager=True))
    dropped = _scale(a) + _scale(b) - places
    result = _with_scale(_with_scale(a, dropped) * _with_scale(b, dropped), places)
    return within_limit(result)


def within_limit(values: pl.Series) -> pl.Series:
    """Return the values, null where they reach LIMIT in absolute value."""
    fits = values.is_between(-LIMIT, LIMIT, closed="none")
    if fits.all():
        return values
    return values.zip_with(
        fits.fill_null(False), pl.repeat(None, len(values), dtype=values.dtype, eager=True)
    )


def reciprocal(rates: pl.Series) -> pl.Series:
    """Return round_half_even(1 / rate, 18) as RATE; null where the rate is null."""
    one = pl.repeat(1, len(rates), dtype=pl.Int64, eager=True).cast(RATE)
    return (one / rates.cast(RATE)).cast(RATE)


def _scale(values: pl.Series) -> int:
    dtype = values.dtype
    assert isinstance(dtype, pl.Decimal), f"{values.name} is {dtype}, not a decimal"
    return dtype.scale


def _with_scale(values: pl.Series, scale: int) -> pl.Series:
    """Return the same integers under another scale, without a copy."""
    array = values.rechunk().to_arrow()
    relabelled = pa.Array.from_buffers(
        pa.decimal128(38, scale), len(array), array.buffers(), offset=array.offset
    )
    return pl.Series(values.name, pl.from_arrow(relabelled))
