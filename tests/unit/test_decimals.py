"""The one rounding of the engine, against Python's decimals."""

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from revalue.engine.core.decimals import AMOUNT, RATE, product, reciprocal

LIMIT = Decimal(10) ** 18
amounts = st.integers(-(10**28) + 1, 10**28 - 1).map(lambda n: Decimal(n).scaleb(-10))
small_amounts = st.integers(-(10**12), 10**12).map(lambda n: Decimal(n).scaleb(-10))
rates = st.integers(1, 10**22).map(lambda n: Decimal(n).scaleb(-18))
tie_rates = st.sampled_from(
    [Decimal("0.5"), Decimal("0.05"), Decimal("0.00005"), Decimal("1.5"), Decimal("0.25")]
)


def rounded(exact: Decimal, places: int) -> Decimal | None:
    with localcontext(Context(prec=120, rounding=ROUND_HALF_EVEN)):
        result = exact.quantize(Decimal(1).scaleb(-places))
    return result if abs(result) < LIMIT else None


@given(
    st.lists(
        st.tuples(st.one_of(amounts, small_amounts), st.one_of(rates, tie_rates)),
        min_size=1,
        max_size=60,
    )
)
def test_a_product_is_rounded_once_half_even_and_null_where_it_does_not_fit(
    pairs: list[tuple[Decimal, Decimal]],
) -> None:
    left = pl.Series([a for a, _ in pairs], dtype=AMOUNT)
    right = pl.Series([b for _, b in pairs], dtype=RATE)
    with localcontext(Context(prec=120)):
        exact = [a * b for a, b in pairs]
    for places in (10, 18):
        assert product(left, right, places).to_list() == [rounded(value, places) for value in exact]


@given(st.lists(rates, min_size=1, max_size=60))
def test_a_reciprocal_is_rounded_once_half_even_to_18_places(values: list[Decimal]) -> None:
    with localcontext(Context(prec=200)):
        expected = [rounded(1 / value, 18) or Decimal(10) ** 18 for value in values]
    assert reciprocal(pl.Series(values, dtype=RATE)).to_list() == expected


def test_ties_go_to_the_even_neighbour_on_both_sides_of_zero() -> None:
    amount = pl.Series([Decimal(n).scaleb(-10) for n in (1, 3, 5, -1, -3, -5)], dtype=AMOUNT)
    half = pl.Series([Decimal("0.5")] * 6, dtype=RATE)
    assert product(amount, half, 10).to_list() == [
        Decimal(n).scaleb(-10) for n in (0, 2, 2, 0, -2, -2)
    ]


def test_nulls_stay_null_and_an_empty_column_stays_empty() -> None:
    assert product(
        pl.Series([None, Decimal(2)], dtype=AMOUNT), pl.Series([Decimal(1), None], dtype=RATE), 10
    ).to_list() == [
        None,
        None,
    ]
    assert product(pl.Series([], dtype=AMOUNT), pl.Series([], dtype=RATE), 10).to_list() == []
