"""What wants a look on a date, against values worked out by hand."""

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from revalue.engine.core.decimals import RATE
from revalue.engine.read.exceptions import Limits, Stored, exceptions_of
from revalue.engine.read.last_before import NOTHING_BEFORE, LastBefore
from revalue.engine.read.report import REPORT_COLUMNS

DAY, BEFORE = date(2024, 3, 6), date(2024, 3, 5)


def line(portfolio: str, security: str, day: date, **values: Any) -> dict[str, Any]:
    status = values.pop("status", "VALUED_CURRENT")
    amounts = {
        name: Decimal(value)
        for name, value in values.items()
        if isinstance(value, str) and REPORT_COLUMNS[name] != pl.String
    }
    given = {
        "portfolio_id": portfolio,
        "security_id": security,
        "date": day,
        "base_currency": "EUR",
        "local_currency": "USD",
        "valuation_status": status,
        "reprocessing_status": "CURRENT",
        "price_date": day,
        "fx_date": day,
        **values,
        **amounts,
    }
    return {name: given.get(name) for name in REPORT_COLUMNS}


def frame(*lines: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(lines), schema=dict(REPORT_COLUMNS))


def found(*columns: str, rows: pl.DataFrame, before: pl.DataFrame, **limits: Any) -> list[Any]:
    return exceptions_of(rows, before, Limits(**limits)).select(columns).rows()


def test_a_missing_price_is_one_line_with_the_value_of_the_day_before() -> None:
    rows = frame(
        *(
            {
                **line(portfolio, "A", DAY, status="WAITING_FOR_DATA"),
                "failure_reason": "PRICE_TOO_OLD A 2024-03-06",
            }
            for portfolio in ("P1", "P2", "P3")
        ),
        line("P1", "B", DAY, status="NOT_VALUED"),
    )
    before = frame(
        line("P1", "A", BEFORE, price="10", market_value="100.5"),
        line("P2", "A", BEFORE, price="10", market_value="-20.25"),
    )
    columns = ("kind", "subject", "detail", "positions", "market_value", "change")
    assert found(*columns, rows=rows, before=before) == [
        ("NO_VALUE", "A", "PRICE_TOO_OLD 2024-03-06", 3, Decimal("80.25"), None),
        ("NOT_VALUED", "P1 / B", "not valued yet", 1, None, None),
    ]


def test_a_reason_is_taken_apart_whatever_the_id() -> None:
    rows = frame(
        {
            **line("P1", "FUND A 2", DAY, status="FAILED"),
            "failure_reason": "OVERFLOW FUND A 2 2024-03-06",
        },
        {
            **line("P1", "B", DAY, status="WAITING_FOR_DATA"),
            "failure_reason": "FX_MISSING USD/EUR 2024-03-06",
        },
        {**line("P1", "C", DAY, status="FAILED"), "failure_reason": "BROKEN"},
    )
    assert sorted(found("subject", "detail", rows=rows, before=frame())) == [
        ("C", "BROKEN"),
        ("FUND A 2", "OVERFLOW 2024-03-06"),
        ("USD/EUR", "FX_MISSING 2024-03-06"),
    ]


def test_old_prices_and_rates_are_told_by_their_dates() -> None:
    old = date(2024, 3, 1)
    rows = frame(
        line("P1", "A", DAY, status="VALUED_STALE", price_date=old, price="10", market_value="100"),
        line("P2", "A", DAY, status="VALUED_STALE", price_date=old, price="10", market_value="300"),
        line("P1", "B", DAY, status="VALUED_STALE", fx_date=old, price="5", market_value="70"),
        line("P1", "C", DAY, price="5", market_value="7"),
    )
    columns = ("kind", "subject", "detail", "positions", "market_value")
    assert found(*columns, rows=rows, before=frame(), movers=0) == [
        ("OLD_PRICE", "A", "price of 2024-03-01", 2, Decimal(400)),
        ("OLD_RATE", "USD/EUR", "rate of 2024-03-01", 1, Decimal(70)),
    ]


def test_a_price_that_is_old_only_by_its_conversion_is_told_too() -> None:
    """No date of the row says why it is stale, and no number is stale without a line."""
    old = date(2024, 3, 1)
    stale = {"status": "VALUED_STALE", "price": "10"}
    rows = frame(
        line("P1", "A", DAY, **stale, market_value="100"),
        line("P2", "A", DAY, **stale, fx_date=None, market_value="300"),
        line("P3", "A", DAY, **stale, fx_date=old, market_value="7"),
        line("P1", "B", DAY, **stale, price_date=old, market_value="500"),
    )
    columns = ("kind", "subject", "detail", "positions", "market_value")
    assert found(*columns, rows=rows, before=frame(), movers=0) == [
        ("OLD_PRICE", "B", "price of 2024-03-01", 1, Decimal(500)),
        ("OLD_PRICE", "A", "price of 2024-03-06, converted at an older rate", 2, Decimal(400)),
        ("OLD_RATE", "USD/EUR", "rate of 2024-03-01", 1, Decimal(7)),
    ]


def test_moves_beyond_the_limit_are_listed_once_per_price_and_the_largest_changes() -> None:
    rows = frame(
        line("P1", "A", DAY, price="12.01", fx_rate="0.9", market_value="120.1"),
        line("P2", "A", DAY, price="12.01", fx_rate="0.9", market_value="-12.01"),
        line("P1", "B", DAY, price="12", fx_rate="0.9", market_value="12"),
        line("P1", "C", DAY, price="1", fx_rate="0.5", local_currency="GBP", market_value="40"),
    )
    before = frame(
        line("P1", "A", BEFORE, price="10", fx_rate="0.9", market_value="100"),
        line("P2", "A", BEFORE, price="10", fx_rate="0.9", market_value="-10"),
        line("P1", "B", BEFORE, price="10", fx_rate="0.9", market_value="10"),
        line("P1", "C", BEFORE, price="1", fx_rate="1", local_currency="GBP", market_value="80"),
    )
    columns = ("kind", "subject", "detail", "positions", "market_value", "change")
    assert found(*columns, rows=rows, before=before, movers=2) == [
        ("PRICE_MOVE", "A", "10 -> 12.01", 2, Decimal("108.09"), Decimal("18.09")),
        ("RATE_MOVE", "GBP/EUR", "1 -> 0.5", 1, Decimal(40), Decimal(-40)),
        ("VALUE_MOVE", "P1 / C", "80 -> 40", 1, Decimal(40), Decimal(-40)),
        ("VALUE_MOVE", "P1 / A", "100 -> 120.1", 1, Decimal("120.1"), Decimal("20.1")),
    ]
    moves = found("kind", "move_percent", rows=rows, before=before, movers=0)
    assert [(kind, round(move, 6)) for kind, move in moves] == [
        ("PRICE_MOVE", 20.1),
        ("RATE_MOVE", -50.0),
    ]
    assert found("kind", rows=rows, before=before, movers=0, move_percent=50) == []
    assert len(found("kind", rows=rows, before=before, movers=0, move_percent=19.9)) == 3


def test_amounts_are_compared_within_a_currency_and_value_moves_by_their_change() -> None:
    values = [  # portfolio, base currency, before, now
        ("E1", "EUR", "100", "110"),
        ("E2", "EUR", "500", "505"),
        ("J1", "JPY", "9000", "9500"),
        ("J2", "JPY", "20000", "20010"),
        ("U1", "USD", "100", "60"),
    ]
    rows = [
        line(name, "A", DAY, base_currency=currency, market_value=now, price_date=BEFORE)
        | {"valuation_status": "VALUED_STALE"}
        for name, currency, _, now in values
    ]
    before = [
        line(name, "A", BEFORE, base_currency=currency, market_value=was)
        for name, currency, was, _ in values
    ]
    lines = found(
        "kind", "subject", "base_currency", rows=frame(*rows), before=frame(*before), movers=5
    )
    assert lines == [
        *(("OLD_PRICE", "A", currency) for currency in ("EUR", "JPY", "USD")),
        ("VALUE_MOVE", "E1 / A", "EUR"),
        ("VALUE_MOVE", "E2 / A", "EUR"),
        ("VALUE_MOVE", "J1 / A", "JPY"),
        ("VALUE_MOVE", "J2 / A", "JPY"),
        ("VALUE_MOVE", "U1 / A", "USD"),
    ]
    as_not_valued = [
        {**row, "valuation_status": "NOT_VALUED", "market_value": None} for row in rows
    ]
    lines = found("subject", rows=frame(*as_not_valued), before=frame(*before))
    assert [name for (name,) in lines] == [f"{name} / A" for name in ("E2", "E1", "J2", "J1", "U1")]


def stored(
    limits: dict[str, float] | None = None,
    confirmed: list[tuple[str, str, date, str]] | None = None,
    values_before: list[str | None] | None = None,
) -> Stored:
    """What is stored; each is confirmed against `values_before`, or (None) against any."""
    own = {} if limits is None else limits
    texts = (
        None if values_before is None else [each and f"{each}.{'0' * 18}" for each in values_before]
    )
    rows = [
        {
            "kind": kind,
            "subject": subject,
            "date": day,
            "value": Decimal(value),
            "values_before": texts,
            "confirmed_by": "ada",
            "why": "seen",
        }
        for kind, subject, day, value in confirmed or ()
    ]
    schema: dict[str, Any] = {"kind": pl.String, "subject": pl.String, "date": pl.Date}
    schema |= {"value": RATE, "values_before": pl.List(pl.String)}
    return Stored(
        pl.DataFrame(
            {"security_id": list(own), "move_limit": list(own.values())},
            schema={"security_id": pl.String, "move_limit": pl.Float64},
        ),
        pl.DataFrame(rows, schema={**schema, "confirmed_by": pl.String, "why": pl.String}),
    )


def test_an_instrument_has_its_own_limit() -> None:
    rows = frame(
        *(line("P1", name, DAY, price="12", fx_rate="1", market_value="12") for name in "ABC")
    )
    before = frame(
        *(line("P1", name, BEFORE, price="10", fx_rate="1", market_value="10") for name in "ABC")
    )
    limits = stored({"A": 20.0, "B": 19.9})

    def listed(percent: float) -> list[str]:
        lines = exceptions_of(rows, before, Limits(percent, movers=0), limits)
        return lines["subject"].to_list()

    assert listed(15) == ["B", "C"]
    assert listed(50) == ["B"]


def test_a_confirmation_is_of_one_value_on_one_date() -> None:
    rows = frame(
        line("P1", "A", DAY, price="15", fx_rate="0.5", market_value="7.5"),
        line("P2", "A", DAY, price="15", fx_rate="0.5", market_value="75"),
        line("P1", "B", DAY, price="15", fx_rate="0.5", market_value="7.5"),
    )
    before = frame(
        *(
            line(portfolio, security, BEFORE, price="10", fx_rate="1", market_value="10")
            for portfolio, security in (("P1", "A"), ("P2", "A"), ("P1", "B"))
        )
    )
    columns = ["kind", "subject", "value", "value_before", "positions", "confirmed_by", "why"]
    of_price = ("PRICE_MOVE", "A", Decimal(15), Decimal(10), 2)
    of_rate = ("RATE_MOVE", "USD/EUR", Decimal("0.5"), Decimal(1), 3)
    other = ("PRICE_MOVE", "B", Decimal(15), Decimal(10), 1, None, None)

    def listed(*confirmed: tuple[str, str, date, str], also: bool = False) -> list[Any]:
        limits = Limits(movers=0, confirmed=also)
        return (
            exceptions_of(rows, before, limits, stored(confirmed=list(confirmed)))
            .select(columns)
            .rows()
        )

    right = (("PRICE", "A", DAY, "15.0"), ("RATE", "USD/EUR", DAY, "0.5"))
    assert listed(*right) == [other]
    assert listed(*right, also=True) == [
        (*of_price, "ada", "seen"),
        other,
        (*of_rate, "ada", "seen"),
    ]
    wrong = (
        ("PRICE", "A", DAY, "15.000000000000000001"),
        ("PRICE", "A", BEFORE, "15"),
        ("RATE", "A", DAY, "15"),
        ("RATE", "EUR/USD", DAY, "0.5"),
    )
    assert listed(*wrong) == [(*of_price, None, None), other, (*of_rate, None, None)]


@pytest.mark.parametrize(
    ("confirmed", "told"),
    [
        (None, []),
        (["10"], ["12 -> 15", "15, after a price in another currency"]),
        (["10", "12"], ["15, after a price in another currency"]),
        (["10", None], ["12 -> 15"]),
        (["11"], ["10 -> 15", "12 -> 15", "15, after a price in another currency"]),
    ],
)
def test_a_confirmation_is_of_the_moves_against_which_it_was_given(
    confirmed: list[str | None] | None, told: list[str]
) -> None:
    rows = frame(*(line(f"P{n}", "A", DAY, price="15", market_value="15") for n in (1, 2, 3)))
    before = frame(
        line("P1", "A", BEFORE, price="10"),
        line("P2", "A", BEFORE, price="12"),
        line("P3", "A", BEFORE, status="WAITING_FOR_DATA"),
    )
    last = LastBefore(
        pl.DataFrame(
            [("A", DAY, None)],
            schema={"security_id": pl.String, "price_date": pl.Date, "last_price": RATE},
            orient="row",
        ),
        NOTHING_BEFORE.rates,
    )
    known = stored(confirmed=[("PRICE", "A", DAY, "15")], values_before=confirmed)
    given = Stored(known.limits, known.confirmed, last)

    def listed(*, also: bool) -> list[Any]:
        lines = exceptions_of(rows, before, Limits(movers=0, confirmed=also), given)
        return sorted(lines.select("detail", "confirmed_by").rows())

    every = ["10 -> 15", "12 -> 15", "15, after a price in another currency"]
    assert listed(also=False) == [(detail, None) for detail in told]
    assert listed(also=True) == [(each, None if each in told else "ada") for each in every]


def test_the_value_of_a_short_position_that_grows_more_negative_moves_down() -> None:
    rows = frame(line("P1", "A", DAY, price="12", market_value="-120"))
    before = frame(line("P1", "A", BEFORE, price="10", market_value="-100"))
    columns = ("kind", "move_percent", "change")
    moves = found(*columns, rows=rows, before=before, move_percent=30)
    assert [(kind, round(move, 6), change) for kind, move, change in moves] == [
        ("VALUE_MOVE", -20.0, Decimal(-20))
    ]


def test_nothing_is_listed_where_all_is_well() -> None:
    rows = frame(line("P1", "A", DAY, price="10", fx_rate="0.9", market_value="90"))
    same = frame(line("P1", "A", BEFORE, price="10", fx_rate="0.9", market_value="90"))
    assert exceptions_of(rows, same, Limits()).is_empty()
    assert exceptions_of(rows, frame(), Limits(), first_dates=[DAY]).is_empty()


def test_a_number_that_a_correction_has_outdated_is_listed() -> None:
    rows = frame(
        *(
            {
                **line(portfolio, "A", DAY, price="10", market_value="90"),
                "reprocessing_status": "IN_PROGRESS",
            }
            for portfolio in ("P1", "P2")
        )
    )
    columns = ("kind", "subject", "positions", "market_value")
    assert found(*columns, rows=rows, before=frame(), movers=0) == [
        ("REPROCESSING", "A", 2, Decimal(180))
    ]


def test_a_position_that_was_not_open_before_had_a_value_of_0() -> None:
    rows = frame(
        line("P1", "A", DAY, price="20", fx_rate="1", market_value="100000000"),
        line("P2", "A", DAY, price="20", fx_rate="1", market_value="20"),
        line(
            "P3", "A", DAY, status="WAITING_FOR_DATA", failure_reason="PRICE_MISSING A 2024-03-06"
        ),
    )
    before = frame(line("P2", "A", BEFORE, status="NOT_VALUED"))
    columns = ("kind", "subject", "detail", "move_percent", "market_value", "change")
    new = Decimal(100000000)
    assert found(*columns, rows=rows, before=before) == [
        ("NO_VALUE", "A", "PRICE_MISSING 2024-03-06", None, None, None),
        ("VALUE_MOVE", "P1 / A", "0 -> 100000000", None, new, new),
    ]


def test_what_showed_nothing_the_day_before_is_compared_with_what_was_stored_last() -> None:
    old = date(2024, 3, 1)
    rows = frame(
        line("P1", "A", DAY, price="25", fx_rate="2", market_value="50"),
        line("P2", "A", DAY, price="25", fx_rate="2", market_value="50"),
        line("P3", "A", DAY, price="25", price_date=old, fx_rate="2", fx_date=old),
        line("P1", "B", DAY, price="30", fx_rate="1", fx_date=old),
    )
    before = frame(
        line("P2", "A", BEFORE, price="24", fx_rate="2"),
        line("P1", "B", BEFORE, status="WAITING_FOR_DATA"),
    )
    last = LastBefore(
        pl.DataFrame(
            [("A", DAY, Decimal(20)), ("A", old, Decimal(24)), ("B", DAY, None)],
            schema={"security_id": pl.String, "price_date": pl.Date, "last_price": RATE},
            orient="row",
        ),
        pl.DataFrame(
            [("USD", "EUR", DAY, Decimal(1)), ("USD", "EUR", old, Decimal(1))],
            schema={
                "local_currency": pl.String,
                "base_currency": pl.String,
                "fx_date": pl.Date,
                "last_rate": RATE,
            },
            orient="row",
        ),
    )
    given = Stored(stored().limits, stored().confirmed, last)
    lines = exceptions_of(rows, before, Limits(movers=0), given)
    assert sorted(
        lines.select("kind", "subject", "detail", "positions", "move_percent").rows()
    ) == [
        ("PRICE_MOVE", "A", "20 -> 25", 1, 25.0),
        ("PRICE_MOVE", "B", "30, after a price in another currency", 1, None),
        ("RATE_MOVE", "USD/EUR", "1 -> 2", 2, 100.0),
    ]
