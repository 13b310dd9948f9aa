"""A range of dates has both of its ends, and reads as people write it."""

from datetime import date

import asyncpg

from revalue.engine.core.date_ranges import DateRange, date_ranges, months

FIRST, LAST = date(2016, 3, 15), date(2016, 3, 18)


def test_both_ends_are_included() -> None:
    of_postgres = [
        asyncpg.Range(None, date(2016, 3, 2)),
        asyncpg.Range(FIRST, date(2016, 3, 16)),
        asyncpg.Range(date(2016, 4, 1), None),
    ]
    assert date_ranges(of_postgres) == (
        DateRange(None, date(2016, 3, 1)),
        DateRange(FIRST, FIRST),
        DateRange(date(2016, 4, 1), None),
    )


def test_a_range_is_printed_as_people_write_it() -> None:
    assert str(DateRange(FIRST, FIRST)) == "2016-03-15"
    assert str(DateRange(FIRST, LAST)) == "2016-03-15 to 2016-03-18"
    assert str(DateRange(FIRST, None)) == "2016-03-15 onwards"
    assert str(DateRange(None, LAST)) == "until 2016-03-18"
    assert str(DateRange(None, None)) == "all dates"


def test_the_months_of_a_range_reach_to_the_last_day_that_there_is() -> None:
    assert list(months(date(2024, 1, 31), date(2024, 3, 1))) == [
        (date(2024, 1, 1), date(2024, 1, 31)),
        (date(2024, 2, 1), date(2024, 2, 29)),
        (date(2024, 3, 1), date(2024, 3, 31)),
    ]
    assert list(months(date.max, date.max)) == [(date(9999, 12, 1), date.max)]
