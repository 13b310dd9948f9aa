"""Exact decimal arithmetic on polars columns: one product, rounded once, half-even, overflow told apart.

polars rounds a product half-even to the larger of the two scales. To round the exact product to any number of
places, once, the operands are relabelled: the integers stay, the scales change, so that polars drops just the digits
that have to go. (a / 10^s1) * (b / 10^s2) to p places is round(a * b / 10^(s1 + s2 - p)).
"""

import polars as pl
import pyarrow as pa

AMOUNT = pl.Decimal(38, 10)
"""Quantities, values, cost bases, prices as quoted: NUMERIC(28,10) in PostgreSQL."""

RATE = pl.Decimal(38, 18)
"""FX rates and unit prices: NUMERIC(38,18) in PostgreSQL."""

LIMIT = 10**18
"""No amount, unit price or rate reaches this: NUMERIC(28,10) has 18 digits before the point."""

_LIMIT_ESTIMATE = 1.000001e18


def product(a: pl.Series, b: pl.Series, places: int) -> pl.Series:
    """round_half_even(a * b, places) as Decimal(38, places); null where an operand is null or the result reaches LIMIT."""
    # Far too large a product would make polars raise for the whole column, so it is taken out by estimate before; the
    # exact limit is checked after.
    fits = (a.cast(pl.Float64) * b.cast(pl.Float64)).abs() < _LIMIT_ESTIMATE
    if not fits.all():
        a = a.zip_with(fits.fill_null(False), pl.repeat(None, len(a), dtype=a.dtype, eager=True))
    dropped = _scale(a) + _scale(b) - places
    result = _relabelled(_relabelled(a, dropped) * _relabelled(b, dropped), places)
    return within_limit(result)


def within_limit(values: pl.Series) -> pl.Series:
    """The values, null where they reach LIMIT in absolute value."""
    fits = values.is_between(-LIMIT, LIMIT, closed="none")
    if fits.all():
        return values
    return values.zip_with(
        fits.fill_null(False), pl.repeat(None, len(values), dtype=values.dtype, eager=True)
    )


def reciprocal(rates: pl.Series) -> pl.Series:
    """round_half_even(1 / rate, 18) as RATE; null where the rate is null."""
    one = pl.repeat(1, len(rates), dtype=pl.Int64, eager=True).cast(RATE)
    return (one / rates.cast(RATE)).cast(RATE)


def _scale(values: pl.Series) -> int:
    dtype = values.dtype
    assert isinstance(dtype, pl.Decimal), f"{values.name} is {dtype}, not a decimal"
    return dtype.scale


def _relabelled(values: pl.Series, scale: int) -> pl.Series:
    """The same integers under another scale; nothing is copied."""
    array = values.rechunk().to_arrow()
    relabelled = pa.Array.from_buffers(
        pa.decimal128(38, scale), len(array), array.buffers(), offset=array.offset
    )
    return pl.Series(values.name, pl.from_arrow(relabelled))
