"""The reference valuation against numbers worked out by hand from docs/valuation.md."""

from datetime import date
from decimal import Decimal

import pytest

from revalue.console.reference.reference import Book, ExpectedRow, Hole, Rates, expected_rows

# January 2024: the 1st is a Monday, the 6th and 7th are a weekend.
WEEK = [1, 2, 3, 4, 5, 8, 9, 10]
CURRENCIES = {
    "USD": ("USD", 1, 1), "EUR": ("EUR", 1, 2), "GBP": ("GBP", 1, 3), "JPY": ("JPY", 1, 4),
    "ILS": ("ILS", 1, 5), "ZAR": ("ZAR", 1, 6), "GBX": ("GBP", 100, 7), "GBp": ("GBP", 100, 8),
    "ILA": ("ILS", 100, 9), "ZAc": ("ZAR", 100, 10),
}  # fmt: skip
KEY = ("P", "S")


def day(n):
    return date(2024, 1, n)


def book(
    *records,
    prices=(),
    rates=None,
    local="USD",
    base="USD",
    multiplier=None,
    max_age=5,
    days=WEEK,
    pivot="EUR",
    fx_max_age=5,
):
    """One position.

    records: (day, quantity[, cost_local[, cost]]); prices: (day, price[, currency[, basis]]).
    """

    def record(n, quantity, cost_local="0", cost="0"):
        return (day(n), Decimal(quantity), Decimal(cost_local), Decimal(cost))

    def price(n, amount, currency=local, basis="PER_UNIT"):
        return (day(n), Decimal(amount), currency, basis)

    return Book(
        calendars={"C": [day(n) for n in days]},
        portfolios={"P": (base, "C")},
        instruments={"S": (local, None if multiplier is None else Decimal(multiplier), max_age)},
        prices={"S": [price(*p) for p in prices]},
        rates={
            tuple(pair.split("/")): [(day(n), Decimal(r)) for n, r in rs]
            for pair, rs in (rates or {}).items()
        },
        records={KEY: [record(*f) for f in records]},
        currencies=CURRENCIES,
        fx_pivot=pivot,
        fx_max_age=fx_max_age,
    )


def listed(a_book):
    return list(expected_rows(a_book))


def days_of(a_book):
    """The days of the rows; a hole is its reason."""
    return [row.reason if isinstance(row, Hole) else row.date.day for row in expected_rows(a_book)]


def last(a_book):
    *_, row = expected_rows(a_book)
    assert isinstance(row, ExpectedRow), row
    return row


def hole(reason, n):
    return Hole(KEY, day(n), reason)


EVERY_DAY = [(n, "10") for n in WEEK]


class TestDueRows:
    def test_open_from_the_first_record_to_the_horizon(self):
        assert days_of(book((3, "1"), prices=EVERY_DAY)) == [3, 4, 5, 8, 9, 10]

    def test_a_record_of_a_weekend_holds_from_the_next_business_date(self):
        assert days_of(book((6, "1"), prices=EVERY_DAY)) == [8, 9, 10]

    def test_a_record_before_the_first_business_date_holds_on_it(self):
        rows = listed(book((1, "7"), prices=EVERY_DAY, days=[4, 5]))
        assert [(row.date.day, row.quantity) for row in rows] == [(4, 7), (5, 7)]

    def test_after_the_horizon_nothing_is_due(self):
        assert days_of(book((20, "1"), prices=EVERY_DAY)) == []

    def test_the_closing_date_has_a_flat_row(self):
        rows = listed(book((3, "5", "40", "40"), (5, "0"), prices=EVERY_DAY))
        zero = Decimal(0)
        assert [row.date.day for row in rows] == [3, 4, 5]
        assert rows[-1] == ExpectedRow(
            "P", "S", day(5), zero, zero, zero, None, None, None, None, None,
            zero, zero, zero, zero, zero, zero, "VALUED_CURRENT",
        )  # fmt: skip

    def test_a_closing_date_that_is_no_business_date_has_no_row(self):
        assert days_of(book((4, "5"), (6, "0"), prices=EVERY_DAY)) == [4, 5]

    def test_the_closing_date_needs_no_data(self):
        # Open on Saturday the 6th only, closed on Monday: the one row is flat, and neither price
        # nor rate exists.
        rows = listed(book((6, "5"), (8, "0"), base="GBP"))
        assert [(row.date.day, row.quantity, row.fx_path) for row in rows] == [(8, 0, None)]

    def test_a_zero_at_the_start_or_after_a_zero_is_no_closing_date(self):
        assert days_of(book((2, "0"), (4, "1"), (5, "0"), (8, "0"), prices=EVERY_DAY)) == [4, 5]

    def test_closed_and_reopened_across_one_weekend_the_dates_of_both_are_due(self):
        assert days_of(book((4, "1"), (6, "0"), (9, "-2"), (10, "0"), prices=EVERY_DAY)) == [
            4,
            5,
            9,
            10,
        ]

    def test_closed_and_reopened_between_two_business_dates_is_just_open(self):
        rows = listed(book((5, "1"), (6, "0"), (7, "3"), prices=EVERY_DAY))
        assert [(row.date.day, row.quantity) for row in rows] == [(5, 1), (8, 3), (9, 3), (10, 3)]

    def test_of_an_empty_calendar_or_history_nothing_is_due(self):
        assert days_of(book((1, "1"), days=[])) == []
        assert days_of(book()) == []

    def test_nothing_is_listed_after_the_first_hole(self):
        # The price of the 3rd is 1 business day old on the 4th; the next one on the 8th does not
        # reopen the list.
        a_book = book(
            (2, "1"),
            (9, "0"),
            (10, "1"),
            prices=[(2, "1"), (3, "1"), (8, "1"), (10, "1")],
            max_age=0,
        )
        assert days_of(a_book) == [
            2, 3, "PRICE_TOO_OLD S 2024-01-04", "PRICE_TOO_OLD S 2024-01-05", 8, 9, 10,
        ]  # fmt: skip

    def test_only_the_positions_asked_for(self):
        a_book = book((10, "1"), prices=EVERY_DAY)
        a_book.records["P", "R"] = a_book.records[KEY]
        a_book.instruments["R"] = a_book.instruments["S"]
        assert [row[:2] for row in expected_rows(a_book, [KEY])] == [KEY]
        assert next(expected_rows(a_book)) == Hole(
            ("P", "R"), day(10), "PRICE_MISSING R 2024-01-10"
        )


class TestPrice:
    def test_the_age_is_counted_in_business_dates(self):
        # Price of Thursday the 4th: Friday is business day 1, Monday the 8th is 2, the 9th is 3.
        a_book = book((4, "1"), prices=[(4, "10")], max_age=2)
        too_old = ["PRICE_TOO_OLD S 2024-01-09", "PRICE_TOO_OLD S 2024-01-10"]
        assert days_of(a_book) == [4, 5, 8, *too_old]

    def test_a_price_of_a_weekend_has_age_1_on_monday_and_is_stale(self):
        # Business dates b with the 6th < b <= the 8th: the 8th alone.
        a_book = book((8, "1"), prices=[(6, "10")], max_age=1)
        too_old = ["PRICE_TOO_OLD S 2024-01-09", "PRICE_TOO_OLD S 2024-01-10"]
        assert days_of(a_book) == [8, *too_old]
        assert listed(a_book)[0][6:8] == (10, day(6))
        assert listed(a_book)[0].valuation_status == "VALUED_STALE"

    def test_age_0_allows_the_price_of_the_day_only(self):
        a_book = book((1, "1"), prices=[(1, "10"), (2, "11")], max_age=0)
        assert [row.price for row in listed(a_book)[:2]] == [10, 11]
        assert listed(a_book)[2] == hole("PRICE_TOO_OLD S 2024-01-03", 3)

    def test_no_price_yet_is_missing(self):
        found = days_of(book((1, "1"), prices=[(2, "10")]))
        first, last_one = "PRICE_MISSING S 2024-01-01", "PRICE_TOO_OLD S 2024-01-10"
        assert found == [first, 2, 3, 4, 5, 8, 9, last_one]

    def test_a_price_before_the_first_business_date_is_too_old(self):
        # It would have age 1 on the 3rd, were its date a business date.
        a_book = book((3, "1"), prices=[(2, "10")], days=[3, 4], max_age=99)
        too_old = ["PRICE_TOO_OLD S 2024-01-03", "PRICE_TOO_OLD S 2024-01-04"]
        assert days_of(a_book) == too_old

    def test_the_last_price_counts_though_it_is_before_the_position(self):
        assert last(book((9, "1"), prices=[(1, "1"), (5, "7")]))[6:8] == (7, day(5))

    def test_while_a_position_is_closed_its_prices_pass_by(self):
        a_book = book(
            (1, "1"), (2, "0"), (9, "1"), prices=[(1, "1"), (3, "3"), (5, "5"), (10, "10")]
        )
        assert [(row.date.day, row.price) for row in listed(a_book)] == [
            (1, 1),
            (2, None),
            (9, 5),
            (10, 10),
        ]

    def test_percent_of_par(self):
        # 98.5 % of a face of 1000 is 985.
        row = last(book((10, "1000"), prices=[(10, "98.5", "USD", "PERCENT_OF_PAR")]))
        assert (row.price, row.market_value_local) == (Decimal("0.985"), 985)

    def test_per_contract(self):
        # 4700.25 * 50 = 235012.5 a contract; short 2 of them: -470025.
        row = last(
            book((10, "-2"), prices=[(10, "4700.25", "USD", "PER_CONTRACT")], multiplier="50")
        )
        assert (row.price, row.market_value_local) == (Decimal("235012.5"), -470025)

    def test_per_contract_without_a_multiplier(self):
        a_book = book((9, "1"), prices=[(9, "1"), (10, "1", "USD", "PER_CONTRACT")])
        assert days_of(a_book) == [9, "CONTRACT_MULTIPLIER_MISSING S 2024-01-10"]

    def test_a_multiplier_is_used_for_contracts_only(self):
        assert last(book((10, "1"), prices=[(10, "3")], multiplier="50")).price == 3

    @pytest.mark.parametrize(
        ("unit", "local"), [("GBX", "GBP"), ("GBp", "GBP"), ("ILA", "ILS"), ("ZAc", "ZAR")]
    )
    def test_minor_units(self, unit, local):
        # 1234.5 / 100; no conversion, hence no rate is needed and the row is current.
        row = last(book((10, "10"), prices=[(10, "1234.5", unit)], local=local, base=local))
        assert (row.price, row.market_value, row.fx_path) == (
            Decimal("12.345"),
            Decimal("123.45"),
            0,
        )
        assert row.valuation_status == "VALUED_CURRENT"

    def test_a_minor_unit_of_another_currency_is_converted_from_its_major(self):
        # 250 GBX = 2.5 GBP; at 1.2 USD: 3 USD; 4 of them: 12.
        row = last(book((10, "4"), prices=[(10, "250", "GBX")], rates={"GBP/USD": [(10, "1.2")]}))
        assert (row.price, row.market_value_local, row.fx_rate, row.fx_path) == (3, 12, 1, 0)

    def test_the_amount_before_conversion_is_rounded_once_to_18_places(self):
        # 0.0000000001 * 0.000001 / 100 = 1e-18; at a rate of 2.5, 2.5e-18 is a tie: to the even
        # 2e-18, and at 1.5, 1.5e-18 is a tie as well: to the even 2e-18.
        for rate, unit_price in (("2.5", "2E-18"), ("1.5", "2E-18")):
            prices = [(10, "0.0000000001", "GBX", "PER_CONTRACT")]
            a_book = book(
                (10, "1"), prices=prices, multiplier="0.000001", rates={"GBP/USD": [(10, rate)]}
            )
            assert last(a_book).price == Decimal(unit_price)

    def test_a_price_that_rounds_to_0_is_an_overflow_and_no_value_of_0(self):
        # 1e-18 at a rate of 0.5 is a tie: to the even 0.
        prices = [(10, "0.0000000001", "GBX", "PER_CONTRACT")]
        a_book = book(
            (10, "1"), prices=prices, multiplier="0.000001", rates={"GBP/USD": [(10, "0.5")]}
        )
        assert list(expected_rows(a_book))[-1].reason == "OVERFLOW S 2024-01-10"

    def test_the_converted_price_is_rounded_to_18_places(self):
        # 0.1 GBP at 1.000000000000000025 is 0.1000000000000000025, at ...015 it is
        # 0.1000000000000000015, both 19 places: the ties go to ...002 and ...002.
        for rate in ("1.000000000000000025", "1.000000000000000015"):
            a_book = book((10, "1"), prices=[(10, "0.1", "GBP")], rates={"GBP/USD": [(10, rate)]})
            assert last(a_book).price == Decimal("0.100000000000000002")


def rate(a_book, source, target, n):
    found = Rates(a_book).rate(source, target, "C", WEEK.index(n))
    return found and (str(found.value), found.date and found.date.day, found.path)


class TestRate:
    def test_the_same_currency_needs_no_data(self):
        row = last(book((10, "1"), prices=EVERY_DAY))
        assert (row.fx_rate, row.fx_date, row.fx_path) == (1, None, 0)

    def test_direct_before_inverse_even_if_older(self):
        rates = {"USD/GBP": [(8, "0.8")], "GBP/USD": [(10, "1.6")]}
        assert rate(book(rates=rates), "USD", "GBP", 10) == ("0.8", 8, 1)

    def test_inverse(self):
        # 1 / 1.6 = 0.625 exactly; 1 / 3 = 0.333..., 18 of them; 1 / 0.7 = 1.428571 428571 428571 |
        # 428571.
        for quoted, inverse in (
            ("1.6", "0.625000000000000000"),
            ("3", "0." + "3" * 18),
            ("0.7", "1." + "428571" * 3),
        ):
            assert rate(book(rates={"GBP/USD": [(10, quoted)]}), "USD", "GBP", 10) == (
                inverse,
                10,
                2,
            )

    def test_an_inverse_tie_goes_to_the_even_neighbour(self):
        # 1 / 524288 = 1 / 2^19 = 0.0000019073486328125: 19 places, the last a 5 after the even 2.
        assert (
            rate(book(rates={"GBP/USD": [(10, "524288")]}), "USD", "GBP", 10)[0]
            == "0.000001907348632812"
        )
        # 5^19 / 10^19 = 1 / 2^19; three times it is 0.0000057220458984375, the last a 5 after an
        # odd 7: up to 8. As a cross: 0.000003 EUR at 1.9073486328125 = 0.0000057220458984375.
        rates = {"USD/EUR": [(10, "0.000003")], "EUR/GBP": [(10, "1.9073486328125")]}
        assert rate(book(rates=rates), "USD", "GBP", 10)[0] == "0.000005722045898438"

    def test_too_old_a_direct_rate_makes_way_for_the_inverse_and_that_for_the_cross(self):
        # On the 10th the rate of the 5th is 3 business days old (8, 9, 10), that of the 8th 2, that
        # of the 9th 1.
        rates = {
            "USD/GBP": [(5, "0.8")],
            "GBP/USD": [(8, "1.6")],
            "EUR/USD": [(9, "1.25")],
            "EUR/GBP": [(10, "0.9")],
        }
        assert rate(book(rates=rates, fx_max_age=3), "USD", "GBP", 10) == ("0.8", 5, 1)
        assert rate(book(rates=rates, fx_max_age=2), "USD", "GBP", 10) == (
            "0.625000000000000000",
            8,
            2,
        )
        # leg USD -> EUR: 1 / 1.25 = 0.8, inverse; leg EUR -> GBP: 0.9, direct; 0.72; path 16*2 +
        # 4*2 + 1.
        assert rate(book(rates=rates, fx_max_age=1), "USD", "GBP", 10) == (
            "0.720000000000000000",
            9,
            41,
        )
        assert rate(book(rates=rates, fx_max_age=0), "USD", "GBP", 10) is None

    def test_a_newer_rate_that_is_too_old_is_not_replaced_and_none_from_the_future_is_seen(self):
        assert (
            rate(book(rates={"USD/GBP": [(1, "0.7"), (9, "0.8")]}, fx_max_age=1), "USD", "GBP", 8)
            is None
        )

    def test_a_rate_of_a_weekend_has_age_1_on_monday(self):
        assert rate(book(rates={"USD/GBP": [(7, "0.8")]}, fx_max_age=0), "USD", "GBP", 8) is None
        assert rate(book(rates={"USD/GBP": [(7, "0.8")]}, fx_max_age=1), "USD", "GBP", 8) == (
            "0.8",
            7,
            1,
        )

    def test_a_rate_before_the_first_business_date_is_none(self):
        a_book = book(
            (8, "1"), prices=EVERY_DAY, days=[8, 9], base="GBP", rates={"USD/GBP": [(5, "0.8")]}
        )
        missing = ["FX_MISSING USD/GBP 2024-01-08", "FX_MISSING USD/GBP 2024-01-09"]
        assert days_of(a_book) == missing

    def test_cross_of_every_kind_of_leg(self):
        # Path: 16 * 2 (EUR) + 4 * first + second.
        cases = [
            ("USD/EUR", "0.8", "EUR/GBP", "0.9", "0.720000000000000000", 37),  # 0.8 * 0.9
            ("USD/EUR", "0.8", "GBP/EUR", "1.6", "0.500000000000000000", 38),  # 0.8 * 0.625
            ("EUR/USD", "1.25", "EUR/GBP", "0.9", "0.720000000000000000", 41),  # 0.8 * 0.9
            ("EUR/USD", "1.25", "GBP/EUR", "1.6", "0.500000000000000000", 42),  # 0.8 * 0.625
        ]
        for first, one, second, two, crossed, path in cases:
            a_book = book(rates={first: [(9, one)], second: [(10, two)]})
            assert rate(a_book, "USD", "GBP", 10) == (crossed, 9, path)

    def test_each_leg_of_a_cross_is_rounded_before_the_product(self):
        # EUR/USD 3: leg USD -> EUR 0.333333333333333333. Times 3 (EUR/GBP) 0.999999999999999999,
        # not 1.
        rates = {"EUR/USD": [(10, "3")], "EUR/GBP": [(10, "3")]}
        assert rate(book(rates=rates), "USD", "GBP", 10) == ("0." + "9" * 18, 10, 41)

    def test_yen_through_the_euro(self):
        # ECB: EUR/JPY 160, EUR/USD 1.1. JPY -> EUR: 1/160 = 0.00625; * 1.1 = 0.006875. The pivot is
        # currency 2: 41.
        rates = {"EUR/JPY": [(10, "160")], "EUR/USD": [(10, "1.1")]}
        assert rate(book(rates=rates), "JPY", "USD", 10) == ("0.006875000000000000", 10, 41)
        # USD -> EUR: 1/1.1 = 0.90909...09 | 0909, 18 places: 0.909090909090909091; * 160 =
        # 145.454545454545454560.
        assert rate(book(rates=rates), "USD", "JPY", 10) == ("145.454545454545454560", 10, 41)
        # 1000 JPY at 0.006875 is 6.875 USD.
        row = last(book((10, "2"), prices=[(10, "500")], local="JPY", rates=rates))
        assert (row.market_value_local, row.market_value, row.fx_path) == (
            1000,
            Decimal("6.875"),
            41,
        )

    def test_no_cross_but_through_the_pivot(self):
        rates = {"USD/EUR": [(10, "0.8")], "EUR/GBP": [(10, "0.9")]}
        assert rate(book(rates=rates, pivot="JPY"), "USD", "GBP", 10) is None
        # The pivot is one of the two: a cross would be of itself.
        assert rate(book(rates={"USD/JPY": [(10, "140")]}, pivot="EUR"), "USD", "EUR", 10) is None
        # Pivot USD, currency 1: EUR -> USD inverse (2), USD -> GBP direct (1): 16 + 8 + 1.
        rates = {"USD/EUR": [(10, "0.8")], "USD/GBP": [(9, "0.72")]}
        assert rate(book(rates=rates, pivot="USD"), "EUR", "GBP", 10) == (
            "0.900000000000000000",
            9,
            25,
        )

    def test_a_direct_rate_stands_before_a_fresher_cross(self):
        rates = {"USD/GBP": [(9, "0.8")], "USD/EUR": [(10, "0.8")], "EUR/GBP": [(10, "0.9")]}
        assert rate(book(rates=rates), "USD", "GBP", 10) == ("0.8", 9, 1)


class TestValues:
    def test_values_and_gains(self):
        # 100 at 12.5 USD = 1250 USD; at 0.8 = 1000 GBP. Cost 1100 USD, 850 GBP: gains 150 USD and
        # 150 GBP. Split: 150 * 0.8 = 120 from the price, 150 - 120 = 30 from the rate.
        a_book = book(
            (10, "100", "1100", "850"),
            prices=[(10, "12.5")],
            base="GBP",
            rates={"USD/GBP": [(10, "0.8")]},
        )
        row = last(a_book)
        assert row == ExpectedRow(
            "P", "S", day(10), Decimal(100), Decimal(1100), Decimal(850), Decimal("12.5"), day(10),
            Decimal("0.8"), day(10), 1, Decimal(1250), Decimal(1000), Decimal(150), Decimal(150),
            Decimal(120), Decimal(30),
            "VALUED_CURRENT",
        )  # fmt: skip

    def test_a_short_position(self):
        # -10 at 20 = -200; cost -250 (proceeds): gain 50.
        row = last(book((10, "-10", "-250", "-250"), prices=[(10, "20")]))
        assert (row.market_value_local, row.unrealized_gain_local, row.unrealized_gain) == (
            -200,
            50,
            50,
        )
        assert (row.price_effect, row.fx_effect) == (50, 0)

    @pytest.mark.parametrize(
        ("quantity", "value"),
        [
            # Times 0.5: a 5 in the 11th place.
            ("0.0000000001", "0"),  # 0.00000000005, between 0 and 1: 0 is even
            ("0.0000000003", "0.0000000002"),  # 1.5: 2
            ("0.0000000005", "0.0000000002"),  # 2.5: 2
            ("-0.0000000003", "-0.0000000002"),  # -1.5: -2
            ("-0.0000000005", "-0.0000000002"),  # -2.5: -2
        ],
    )
    def test_half_even_ties_of_the_local_value(self, quantity, value):
        assert last(book((10, quantity), prices=[(10, "0.5")])).market_value_local == Decimal(value)

    def test_the_value_is_taken_from_the_rounded_local_value(self):
        # 0.0000000003 * 0.5 = 1.5e-10: rounded 2e-10. * 3 = 6e-10; unrounded it were 4.5e-10,
        # rounded 4e-10.
        row = last(
            book(
                (10, "0.0000000003"),
                prices=[(10, "0.5")],
                base="GBP",
                rates={"USD/GBP": [(10, "3")]},
            )
        )
        assert row.market_value == Decimal("0.0000000006")

    def test_half_even_ties_of_the_value_and_of_the_price_effect(self):
        # Value: 5e-10 * 0.5 = 2.5e-10: 2e-10. Gain local: 5e-10 - 2e-10 = 3e-10; * 0.5 = 1.5e-10:
        # 2e-10. Gain: 2e-10 - 7e-10 = -5e-10; the rest of it is -7e-10.
        records = (10, "0.0000000005", "0.0000000002", "0.0000000007")
        row = last(book(records, prices=[(10, "1")], base="GBP", rates={"USD/GBP": [(10, "0.5")]}))
        found = (
            row.market_value,
            row.unrealized_gain_local,
            row.price_effect,
            row.unrealized_gain,
            row.fx_effect,
        )
        assert found == tuple(Decimal(n).scaleb(-10) for n in (2, 3, 2, -5, -7))

    def test_the_fact_of_the_date_counts_from_that_date(self):
        a_book = book((9, "1", "5", "6"), (10, "3", "15", "18"), prices=EVERY_DAY)
        assert [row[3:6] for row in listed(a_book)] == [(1, 5, 6), (3, 15, 18)]

    def test_no_digit_is_lost_in_a_large_product(self):
        # 99999999.9999999999 = 10^8 - 10^-10; squared: 10^16 - 2*10^-2 + 10^-20, rounded to 10
        # places.
        row = last(book((10, "99999999.9999999999"), prices=[(10, "99999999.9999999999")]))
        assert row.market_value_local == Decimal("9999999999999999.98")


class TestOverflow:
    def test_just_below_the_limit(self):
        row = last(book((10, "999999999999999999.9999999999"), prices=[(10, "1")]))
        assert row.market_value == Decimal("999999999999999999.9999999999")

    @pytest.mark.parametrize("sign", ["", "-"])
    def test_the_local_value(self, sign):
        # 5 * 10^17 * 2 = 10^18, the first that does not fit.
        a_book = book((10, sign + "500000000000000000"), prices=[(10, "2")])
        assert listed(a_book) == [hole("OVERFLOW S 2024-01-10", 10)]

    def test_the_value(self):
        rates = {"USD/GBP": [(9, "1"), (10, "2")]}
        a_book = book((9, "500000000000000000"), prices=[(9, "1")], base="GBP", rates=rates)
        assert days_of(a_book) == [9, "OVERFLOW S 2024-01-10"]

    def test_a_value_that_is_rounded_up_to_the_limit(self):
        # (10^18 - 10^-10) * 1.0000000000000000000 would fit; * 1.000000000000000001 = 10^18 + 1 -
        # ...: it does not.
        rates = {"USD/GBP": [(10, "1.000000000000000001")]}
        a_book = book(
            (10, "999999999999999999.9999999999"), prices=[(10, "1")], base="GBP", rates=rates
        )
        assert days_of(a_book) == ["OVERFLOW S 2024-01-10"]

    @pytest.mark.parametrize("costs", [("-500000000000000000", "0"), ("0", "-500000000000000000")])
    def test_either_gain(self, costs):
        # The value of 5 * 10^17 fits, the gain of 10^18 does not.
        a_book = book((10, "500000000000000000", *costs), prices=[(10, "1")])
        assert days_of(a_book) == ["OVERFLOW S 2024-01-10"]

    def test_the_unit_price(self):
        # 5 * 10^17 a contract of 2: 10^18, though a quantity of 0.1 would bring the value to 10^17.
        prices = [(10, "500000000000000000", "USD", "PER_CONTRACT")]
        assert days_of(book((10, "0.1"), prices=prices, multiplier="2")) == [
            "OVERFLOW S 2024-01-10"
        ]
        assert days_of(book((10, "0.1"), prices=prices, multiplier="1.999999")) == [10]

    def test_a_unit_price_after_conversion(self):
        a_book = book(
            (10, "0.1"), prices=[(10, "500000000000000000", "GBP")], rates={"GBP/USD": [(10, "2")]}
        )
        assert days_of(a_book) == ["OVERFLOW S 2024-01-10"]

    def test_missing_data_is_named_before_an_overflow(self):
        a_book = book((10, "500000000000000000"), prices=[(10, "2")], base="GBP")
        assert days_of(a_book) == ["FX_MISSING USD/GBP 2024-01-10"]


class TestStatus:
    def statuses(self, a_book):
        return [
            (row.date.day, row.valuation_status.removeprefix("VALUED_"))
            for row in expected_rows(a_book)
        ]

    def test_stale_by_its_price(self):
        assert self.statuses(book((9, "1"), prices=[(9, "1")])) == [(9, "CURRENT"), (10, "STALE")]

    def test_stale_by_its_rate(self):
        a_book = book((9, "1"), prices=EVERY_DAY, base="GBP", rates={"USD/GBP": [(9, "0.8")]})
        assert self.statuses(a_book) == [(9, "CURRENT"), (10, "STALE")]

    def test_stale_by_one_leg_of_its_cross(self):
        rates = {"USD/EUR": [(8, "0.8"), (9, "0.8")], "EUR/GBP": [(9, "0.9"), (10, "0.9")]}
        a_book = book((9, "1"), prices=EVERY_DAY, base="GBP", rates=rates)
        assert self.statuses(a_book) == [(9, "CURRENT"), (10, "STALE")]
        assert last(a_book).fx_date == day(9)

    def test_stale_by_the_conversion_of_its_price(self):
        # Local and base are the same currency: the row shows no rate, and is stale by the one it
        # does not show.
        prices = [(9, "1", "GBP"), (10, "1", "GBP")]
        a_book = book((9, "1"), prices=prices, rates={"GBP/USD": [(9, "1.25")]})
        assert self.statuses(a_book) == [(9, "CURRENT"), (10, "STALE")]
        assert last(a_book)[8:11] == (1, None, 0)

    def test_a_flat_row_is_current_without_any_price_of_its_day(self):
        assert self.statuses(book((9, "1"), (10, "0"), prices=[(8, "1")])) == [
            (9, "STALE"),
            (10, "CURRENT"),
        ]


class TestReasons:
    """In the order price, conversion of the price, rate; each case mends the one before."""

    EURO = ((10, "1", "EUR", "PER_CONTRACT"),)

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ({}, "PRICE_MISSING S"),
            ({"prices": [(8, "1", "EUR", "PER_CONTRACT")], "max_age": 1}, "PRICE_TOO_OLD S"),
            ({"prices": EURO}, "CONTRACT_MULTIPLIER_MISSING S"),
            ({"prices": EURO, "multiplier": "1"}, "FX_MISSING EUR/USD"),
            (
                {"prices": EURO, "multiplier": "1", "rates": {"EUR/USD": [(10, "1")]}},
                "FX_MISSING USD/GBP",
            ),
        ],
    )
    def test_the_first_that_fails_is_named(self, given, reason):
        assert listed(book((10, "1"), base="GBP", **given)) == [hole(f"{reason} 2024-01-10", 10)]

    def test_a_missing_cross_names_the_pair_and_not_the_leg(self):
        a_book = book((10, "1"), prices=EVERY_DAY, base="GBP", rates={"USD/EUR": [(10, "0.8")]})
        assert days_of(a_book) == ["FX_MISSING USD/GBP 2024-01-10"]

    def test_a_minor_unit_is_named_by_its_major(self):
        assert days_of(book((10, "1"), prices=[(10, "1", "GBX")])) == [
            "FX_MISSING GBP/USD 2024-01-10"
        ]

    def test_all_that_is_there_makes_a_row(self):
        # 1 EUR * 1 = 1.25 USD; at 0.8: 1 GBP.
        rates = {"EUR/USD": [(10, "1.25")], "USD/GBP": [(10, "0.8")]}
        row = last(book((10, "1"), prices=self.EURO, multiplier="1", rates=rates, base="GBP"))
        assert (row.price, row.market_value, row.valuation_status) == (
            Decimal("1.25"),
            1,
            "VALUED_CURRENT",
        )
