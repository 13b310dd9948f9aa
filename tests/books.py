"""Small adversarial books for the property tests, and the frames that load them."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import polars as pl
from hypothesis import strategies as st

from revalue.console.reference.reference import Book
from revalue.migrations.versions import r0001_reference_data as reference

# Across a leap day, a month's end and two weekends.
DAYS = [date(2024, 2, 22) + timedelta(days=n) for n in range(14)]
ALL_DAYS = 2 ** len(DAYS) - 1

# As the migration numbers them: majors in their order, then minors.
CURRENCIES = {
    code: (
        reference.MINOR_CURRENCIES.get(code, code),
        100 if code in reference.MINOR_CURRENCIES else 1,
        number,
    )
    for number, code in enumerate(
        [*reference.MAJOR_CURRENCIES, *reference.MINOR_CURRENCIES], start=1
    )
}
MAJORS = ("USD", "EUR", "GBP", "JPY", "CHF", "ILS", "ZAR")
MINORS = {"GBP": ("GBX", "GBp"), "ILS": ("ILA",), "ZAR": ("ZAc",)}
IN_BOOKS = {code: entry for code, entry in CURRENCIES.items() if entry[0] in MAJORS}
IN_USD = {
    "USD": "1",
    "EUR": "1.09",
    "GBP": "1.27",
    "JPY": "0.0067",
    "CHF": "1.13",
    "ILS": "0.27",
    "ZAR": "0.053",
}

PRICE = pl.Decimal(28, 10)
RATE = pl.Decimal(28, 18)
MULTIPLIER = pl.Decimal(18, 6)


def scaled(places: int, low: int, high: int) -> st.SearchStrategy[Decimal]:
    """Multiples of 10^-places from low to high, both in that unit."""
    return st.integers(low, high).map(lambda n: Decimal(n).scaleb(-places))


def chosen(*values: str) -> st.SearchStrategy[Decimal]:
    return st.sampled_from([Decimal(value) for value in values])


# A subset of DAYS: all of them, nearly all, half of them, any.
DATES = st.one_of(
    st.just(ALL_DAYS),
    st.sets(st.sampled_from(range(len(DAYS))), max_size=3).map(
        lambda gone: ALL_DAYS - sum(1 << n for n in gone)
    ),
    st.integers(1, ALL_DAYS),
).map(lambda mask: [day for n, day in enumerate(DAYS) if mask >> n & 1])


@st.composite
def calendar_days(draw: st.DrawFn) -> list[date]:
    # Some calendars open late or close early: data lies before their first day or after their last.
    opens, closes = draw(st.sampled_from([0, 0, 0, 2, 5])), draw(st.sampled_from([0, 0, 0, 1, 3]))
    days = draw(DATES)
    return [day for day in days if DAYS[opens] <= day <= DAYS[-1 - closes]] or days


# The tenth place is odd as often as even; a factor of a half or of 0.05 then makes a tie.
ORDINARY_PRICES = st.one_of(
    scaled(2, 1, 100_000),
    scaled(10, 1, 10**14),
    chosen(
        "0.5",
        "0.05",
        "1.5",
        "0.0000000001",
        "0.0000000005",
        "0.0000000015",
        "2.5",
        "1",
        "99.9999999999",
    ),
)
EXTREME_PRICES = chosen(
    "0.0000000001", "100000000", "12345678.9012345678", "1000000000000", "500000000000000000"
)
ORDINARY_QUANTITIES = st.one_of(
    st.integers(-1000, 1000).map(Decimal),
    scaled(10, -(10**13), 10**13),
    chosen(
        "0.0000000001", "-0.0000000001", "0.0000000003", "0.5", "-0.5", "1.0000000001", "-2.5", "3"
    ),
)
EXTREME_QUANTITIES = chosen(
    "0.0000000001",
    "-0.0000000001",
    "1000000000",
    "-1000000000.0000000001",
    "123456789012345.1234567891",
    "999999999999999999.9999999999",
    "-999999999999999999.9999999999",
)
ORDINARY_COSTS = st.one_of(st.integers(-50_000, 50_000).map(Decimal), scaled(10, -(10**15), 10**15))
EXTREME_COSTS = chosen("1000000000000000", "-999999999999999.9999999999", "0.0000000001", "0")
ORDINARY_MULTIPLIERS = st.one_of(
    chosen("50", "0.05", "0.5", "100", "0.000001", "1000"), scaled(6, 1, 10**9)
)


@st.composite
def price_lists(
    draw: st.DrawFn, currency: str, prices: st.SearchStrategy[Decimal], bases: tuple[str, ...]
) -> list[tuple[date, Decimal, str, str]]:
    # Quoted in one unit throughout, or in several, or (seldom) in another currency altogether.
    own = (currency, *MINORS.get(currency, ()))
    other = draw(st.sampled_from(MAJORS))
    quoted_in = draw(
        st.sampled_from(
            [own[:1], own[-1:], own, (other,), MINORS.get(other, (other,)), (*own, other)]
        )
    )
    listed = []
    for day in draw(DATES):
        price, unit, basis = (
            draw(prices),
            draw(st.sampled_from(quoted_in)),
            draw(st.sampled_from(bases)),
        )
        if price > 10**12 and basis == "PER_CONTRACT" and CURRENCIES[unit][0] != currency:
            # Only the unit price reaches 10^18, never its amount before conversion.
            price = Decimal(10**12)
        listed.append((day, price, unit, basis))
    return listed


@st.composite
def rate_tables(
    draw: st.DrawFn, used: list[str], extreme: bool
) -> dict[tuple[str, str], list[tuple[date, Decimal]]]:
    """Rates of each pair of currencies in use: direct, inverse, both or none."""
    tables = {}
    pairs = [(a, b) for n, a in enumerate(used) for b in used[n + 1 :]]
    # With a hub, all rates are against one currency, and the rest are crosses.
    hub = draw(st.sampled_from([None, "EUR", "USD"]))
    for a, b in pairs:
        if hub is not None and hub not in (a, b):
            continue
        ways = draw(
            st.sampled_from(
                [((a, b),), ((a, b),), ((b, a),), ((b, a),), ((a, b), (b, a)), ((a, b), (b, a)), ()]
            )
        )
        for base, quote in ways:
            true = Decimal(IN_USD[base]) / Decimal(IN_USD[quote])
            rates = []
            for day in draw(DATES):
                wobble = draw(st.integers(-(10**6), 10**6))
                rate = true * (1 + Decimal(wobble).scaleb(-7))
                rate = rate.quantize(Decimal(1).scaleb(-draw(st.sampled_from([2, 5, 5, 10, 18]))))
                if extreme:
                    rate = draw(
                        st.sampled_from(
                            [rate, Decimal("0.000001"), Decimal(1000), Decimal("0.3"), Decimal(3)]
                        )
                    )
                rates.append((day, max(rate, Decimal("0.000001"))))
            tables[base, quote] = rates
    return tables


@st.composite
def histories(
    draw: st.DrawFn, quantities: st.SearchStrategy[Decimal], costs: st.SearchStrategy[Decimal]
) -> list[tuple[date, Decimal, Decimal, Decimal]]:
    """Position records on any day: shorts, closes, re-openings, leading and repeated zeros."""
    facts = []
    places = sorted(draw(st.sets(st.sampled_from(range(len(DAYS))), min_size=1, max_size=5)))
    for place in places:
        day = DAYS[place]
        if facts and draw(st.booleans()) and facts[-1][1]:
            facts.append((day, Decimal(0), Decimal(0), Decimal(0)))
            continue
        quantity = draw(quantities)
        if not quantity or draw(st.integers(0, 9)) == 0:
            facts.append((day, Decimal(0), Decimal(0), Decimal(0)))
        else:
            facts.append((day, quantity, draw(costs), draw(costs)))
    return facts


@st.composite
def books(draw: st.DrawFn) -> Book:
    # Sizes and rates are extreme in different books: their product would only overflow.
    extreme = draw(st.sampled_from(["no", "no", "no", "sizes", "rates"]))
    prices, quantities, costs = ORDINARY_PRICES, ORDINARY_QUANTITIES, ORDINARY_COSTS
    if extreme == "sizes":
        prices = st.one_of(prices, EXTREME_PRICES)
        quantities = st.one_of(quantities, EXTREME_QUANTITIES)
        costs = st.one_of(costs, EXTREME_COSTS)

    calendars = {f"CAL{n}": draw(calendar_days()) for n in range(draw(st.integers(1, 2)))}
    majors = draw(st.lists(st.sampled_from(MAJORS), min_size=2, max_size=3, unique=True))
    portfolios = {
        f"P{n}": (draw(st.sampled_from(majors)), draw(st.sampled_from(sorted(calendars))))
        for n in range(draw(st.integers(1, 4)))
    }
    ages = st.sampled_from([0, 1, 2, 3, 5, 15, 15, 15])
    instruments, price_book = {}, {}
    for n in range(draw(st.integers(1, 4))):
        currency = draw(st.sampled_from(majors))
        bases = draw(
            st.sampled_from(
                [
                    ("PER_UNIT",),
                    ("PER_UNIT",),
                    ("PERCENT_OF_PAR",),
                    ("PER_CONTRACT",),
                    ("PER_UNIT", "PERCENT_OF_PAR", "PER_CONTRACT"),
                ]
            )
        )
        missing = draw(st.integers(0, 3 if len(bases) == 1 else 1)) == 0
        instruments[f"S{n}"] = (
            currency,
            None if missing else draw(ORDINARY_MULTIPLIERS),
            draw(ages),
        )
        if draw(st.integers(0, 19)):
            price_book[f"S{n}"] = draw(price_lists(currency, prices, bases))
    quoted = {CURRENCIES[price[2]][0] for listed in price_book.values() for price in listed}
    pivot = draw(st.sampled_from(["EUR", "EUR", "USD"]))
    facts = {}
    for portfolio in portfolios:
        for security in instruments:
            if draw(st.integers(0, 3)):
                facts[portfolio, security] = draw(histories(quantities, costs))
    return Book(
        calendars=calendars,
        portfolios=portfolios,
        instruments=instruments,
        prices=price_book,
        rates=draw(rate_tables(sorted({*majors, *quoted, pivot}), extreme == "rates")),
        records=facts,
        currencies=IN_BOOKS,
        fx_pivot=pivot,
        fx_max_age=draw(ages),
    )


def book_frames(book: Book) -> dict[str, pl.DataFrame]:
    """The load frames of a book, in the order in which they have to be loaded."""

    def frame(
        rows: list[tuple[object, ...]], schema: dict[str, pl.DataType | type[pl.DataType]]
    ) -> pl.DataFrame:
        return pl.DataFrame(rows, schema=schema, orient="row")

    return {
        "business_dates": frame(
            [(calendar, day) for calendar, days in book.calendars.items() for day in days],
            {"calendar_id": pl.String, "business_date": pl.Date},
        ),
        "portfolios": frame(
            [(portfolio, *rest) for portfolio, rest in book.portfolios.items()],
            {"portfolio_id": pl.String, "base_currency": pl.String, "calendar_id": pl.String},
        ),
        "instruments": frame(
            [(security, *rest) for security, rest in book.instruments.items()],
            {
                "security_id": pl.String,
                "currency": pl.String,
                "contract_multiplier": MULTIPLIER,
                "max_price_age_sessions": pl.Int32,
            },
        ),
        "fx_rates": frame(
            [(*pair, *rate) for pair, rates in book.rates.items() for rate in rates],
            {
                "base_currency": pl.String,
                "quote_currency": pl.String,
                "rate_date": pl.Date,
                "rate": RATE,
            },
        ),
        "prices": frame(
            [(security, *price) for security, prices in book.prices.items() for price in prices],
            {
                "security_id": pl.String,
                "price_date": pl.Date,
                "price": PRICE,
                "currency": pl.String,
                "quote_basis": pl.String,
            },
        ),
        "positions": frame(
            [(*position, *fact) for position, facts in book.records.items() for fact in facts],
            {
                "portfolio_id": pl.String,
                "security_id": pl.String,
                "position_date": pl.Date,
                "quantity": PRICE,
                "cost_basis_local": PRICE,
                "cost_basis": PRICE,
            },
        ),
    }
