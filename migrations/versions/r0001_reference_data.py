"""Create reference and market data: currencies to instruments, prices, rates, valuation policy."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# ISO 4217 alphabetic codes in use, the euro's predecessors, and other codes in the ECB's history.
MAJOR_CURRENCIES = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN "
    "BWP BYN BZD CAD CDF CHF CLP CNH CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR "
    "FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD "
    "JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT "
    "MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG "
    "QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS "
    "TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR "
    "ZMW ZWG CYP EEK HRK LTL LVL MTL ROL SIT SKK TRL"
).split()

# Quotation units of exchanges, not currencies: 100 units are one unit of the major currency.
MINOR_CURRENCIES = {"GBX": "GBP", "GBp": "GBP", "ILA": "ILS", "ZAc": "ZAR"}

TABLES = (
    """
    CREATE TABLE currencies (
        currency        text PRIMARY KEY CHECK (currency ~ '^[A-Z][A-Z][A-Za-z]$'),
        currency_no     smallint GENERATED ALWAYS AS IDENTITY UNIQUE,
        major_currency  text NOT NULL REFERENCES currencies,
        units_per_major integer NOT NULL CHECK (units_per_major >= 1),
        CHECK ((currency = major_currency) = (units_per_major = 1))
    )
    """,
    """
    CREATE TABLE calendars (
        calendar_id text PRIMARY KEY,
        calendar_no smallint GENERATED ALWAYS AS IDENTITY UNIQUE
    )
    """,
    """
    CREATE TABLE business_dates (
        calendar_id   text NOT NULL REFERENCES calendars,
        business_date date NOT NULL,
        PRIMARY KEY (calendar_id, business_date)
    )
    """,
    """
    CREATE TABLE portfolios (
        portfolio_id  text PRIMARY KEY,
        portfolio_no  integer GENERATED ALWAYS AS IDENTITY UNIQUE,
        base_currency text NOT NULL REFERENCES currencies,
        calendar_id   text NOT NULL REFERENCES calendars
    )
    """,
    """
    CREATE TABLE instruments (
        security_id            text PRIMARY KEY,
        instrument_no          integer GENERATED ALWAYS AS IDENTITY UNIQUE,
        currency               text NOT NULL REFERENCES currencies,
        contract_multiplier    numeric(18, 6) CHECK (contract_multiplier > 0),
        max_price_age_sessions integer NOT NULL CHECK (max_price_age_sessions >= 0)
    )
    """,
    """
    CREATE TABLE market_prices (
        security_id text NOT NULL REFERENCES instruments,
        price_date  date NOT NULL CHECK (isfinite(price_date)),
        price       numeric(28, 10) NOT NULL CHECK (price > 0 AND price <> 'NaN'),
        currency    text NOT NULL REFERENCES currencies,
        quote_basis text NOT NULL CHECK (quote_basis IN ('PER_UNIT', 'PERCENT_OF_PAR', 'PER_CONTRACT')),
        PRIMARY KEY (security_id, price_date)
    )
    """,
    # Every currency that a security was ever quoted in, to find the reach of a rate without
    # reading prices.
    """
    CREATE TABLE security_quote_currencies (
        security_id text NOT NULL REFERENCES instruments,
        currency    text NOT NULL REFERENCES currencies,
        PRIMARY KEY (security_id, currency)
    )
    """,
    """
    CREATE TABLE fx_rates (
        base_currency  text NOT NULL REFERENCES currencies,
        quote_currency text NOT NULL REFERENCES currencies,
        rate_date      date NOT NULL CHECK (isfinite(rate_date)),
        rate           numeric(28, 18) NOT NULL CHECK (rate > 0 AND rate <> 'NaN'),
        PRIMARY KEY (base_currency, quote_currency, rate_date),
        CHECK (base_currency <> quote_currency)
    )
    """,
    """
    CREATE TABLE valuation_policy (
        singleton           boolean PRIMARY KEY DEFAULT true CHECK (singleton),
        fx_pivot_currency   text NOT NULL REFERENCES currencies,
        fx_max_age_sessions integer NOT NULL CHECK (fx_max_age_sessions >= 0)
    )
    """,
)


def upgrade() -> None:
    for table in TABLES:
        op.execute(table)
    majors = ", ".join(f"('{code}', '{code}', 1)" for code in MAJOR_CURRENCIES)
    minors = ", ".join(f"('{code}', '{major}', 100)" for code, major in MINOR_CURRENCIES.items())
    for rows in (majors, minors):
        op.execute(
            f"INSERT INTO currencies (currency, major_currency, units_per_major) VALUES {rows}"
        )
    op.execute(
        "INSERT INTO valuation_policy (fx_pivot_currency, fx_max_age_sessions) VALUES ('EUR', 5)"
    )


def downgrade() -> None:
    op.execute(
        "DROP TABLE valuation_policy, fx_rates, security_quote_currencies, market_prices, "
        "instruments, portfolios, business_dates, calendars, currencies"
    )
