"""A seeded book, made inside PostgreSQL, and the same values computed by one SQL statement."""

from revalue.engine.postgres.database import Database

HOLDERS = 100
"""Number of portfolios; each security is held by all of them unless a workload asks for more."""

# Daily prices of two decimals, ECB-like rates of four: no product of them is a tie, so numeric's
# round() and half-even give the same digits, and the SQL baseline may use the faster round().
_STATEMENTS = (
    "SELECT setseed(0.42)",
    "INSERT INTO calendars (calendar_id) VALUES ('BENCH')",
    """INSERT INTO business_dates
       SELECT 'BENCH', day FROM (
           SELECT d::date AS day, row_number() OVER (ORDER BY d) AS n
           FROM generate_series(DATE '2015-01-01', DATE '2015-01-01' + $2::int * 2 + 10, '1 day') d
           WHERE extract(isodow FROM d) < 6) weekdays
       WHERE n <= $2::int""",
    """INSERT INTO portfolios (portfolio_id, base_currency, calendar_id)
       SELECT 'P' || lpad(n::text, 7, '0'), CASE WHEN n % 2 = 0 THEN 'USD' ELSE 'EUR' END, 'BENCH'
       FROM generate_series(1, $3::int) n""",
    """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
       SELECT 'S' || lpad(n::text, 6, '0'), 'USD', 5
       FROM generate_series(1, ceil($1::numeric / $3)::int) n""",
    """INSERT INTO market_prices
       SELECT security_id, business_date, round((20 + 80 * random())::numeric, 2), 'USD', 'PER_UNIT'
       FROM instruments CROSS JOIN business_dates ORDER BY 1, 2""",
    """INSERT INTO fx_rates SELECT 'EUR', 'USD', business_date,
       round((1.05 + random() * 0.1)::numeric, 4)
       FROM business_dates ORDER BY 3""",
    """INSERT INTO position_state (portfolio_id, security_id, calendar_no, base_currency_no,
       open_dates, published_open_dates)
       SELECT portfolio_id, security_id, calendar_no, currency_no, span, span
       FROM instruments CROSS JOIN portfolios
       JOIN calendars USING (calendar_id)
       JOIN currencies b ON b.currency = base_currency
       CROSS JOIN (
           SELECT datemultirange(daterange(min(business_date), NULL)) AS span
           FROM business_dates) s
       ORDER BY security_id, portfolio_id LIMIT $1::int""",
    "SET LOCAL revalue.loading_positions = on",
    """INSERT INTO position_history (position_id, valid_from_epoch, position_date, quantity,
           cost_basis_local, cost_basis)
       SELECT position_id, 0, first_date, 100 + position_id % 900, 5000 + position_id % 100,
           4500 + position_id % 90
       FROM position_state
       CROSS JOIN (SELECT min(business_date) AS first_date FROM business_dates) d""",
    "UPDATE reprocessing_triggers SET fanned_out_at = clock_timestamp()",
)


OPEN = """UPDATE calendars c SET opened_through = (
          SELECT max(business_date) FROM business_dates b WHERE b.calendar_id = c.calendar_id)"""
"""Opens every calendar through its last business date."""


async def make_book(
    database: Database,
    *,
    positions: int,
    dates: int,
    holders: int = HOLDERS,
    is_opened: bool = True,
) -> None:
    """Fill an empty migrated database with `positions` / `holders` securities (rounded up).

    Args:
        positions: number of positions.
        dates: number of business days.
        holders: number of portfolios, which all hold each security.
        is_opened: whether the business days are opened; otherwise nothing is due.
    """
    values = (positions, dates, min(holders, positions))
    async with database.transaction() as connection:
        for statement in _STATEMENTS:
            used = [values[n - 1] for n in (1, 2, 3) if f"${n}" in statement]
            numbers = [n for n in (1, 2, 3) if f"${n}" in statement]
            for place, n in enumerate(numbers, 1):
                statement = statement.replace(f"${n}", f"#{place}")  # noqa: PLW2901
            await connection.execute(statement.replace("#", "$"), *used)
        if is_opened:
            await connection.execute(OPEN)
    async with database.connection() as connection:
        for table in (
            "position_state",
            "position_history",
            "market_prices",
            "fx_rates",
            "business_dates",
            "portfolios",
        ):
            await connection.execute(f"VACUUM ANALYZE {table}")


COLUMNS = (
    "position_id, job_id, date, epoch, price_date, fx_date, fx_path, status, quantity, "
    "cost_basis_local, cost_basis, price, fx_rate, market_value_local, market_value, "
    "unrealized_gain_local, unrealized_gain"
)

# The best single statement for a range of positions: prices and rates per date are computed once,
# by window functions per security or pair, and hash-joined.
SQL_BASELINE = f"""
    INSERT INTO {{table}} ({COLUMNS})
    WITH held AS MATERIALIZED (
        SELECT * FROM position_state WHERE position_id BETWEEN {{first}} AND {{last}}
    ), sessions AS MATERIALIZED (
        SELECT business_date AS date, row_number() OVER (ORDER BY business_date) AS n
        FROM business_dates JOIN calendars USING (calendar_id)
        WHERE business_date <= opened_through
    ), priced AS MATERIALIZED (
        SELECT k.security_id, k.date, p.price, p.price_date
        FROM (
            SELECT m.security_id, s.date,
                max(p.price_date) OVER (PARTITION BY m.security_id ORDER BY s.date) AS known_date
            FROM (SELECT DISTINCT security_id FROM held) m CROSS JOIN sessions s
            LEFT JOIN market_prices p
                ON p.security_id = m.security_id AND p.price_date = s.date) k
        JOIN market_prices p ON p.security_id = k.security_id AND p.price_date = k.known_date
    ), rates AS MATERIALIZED (  -- 40 places, so that the quotient is rounded once
        SELECT 'USD' AS base_currency, date, 1::numeric(38, 18) AS fx_rate, NULL::date AS fx_date,
            0::smallint AS fx_path
        FROM sessions
        UNION ALL
        SELECT 'EUR', k.date, round(1::numeric(60, 40) / r.rate, 18), r.rate_date, 2::smallint
        FROM (SELECT s.date, max(r.rate_date) OVER (ORDER BY s.date) AS known_date
              FROM sessions s LEFT JOIN fx_rates r ON r.rate_date = s.date) k
        JOIN fx_rates r ON r.rate_date = k.known_date
    )
    SELECT p.position_id, 0, x.date, 0, x.price_date, r.fx_date, r.fx_path,
           CASE WHEN x.price_date = x.date THEN 0 ELSE 1 END,
           h.quantity, h.cost_basis_local, h.cost_basis, x.price, r.fx_rate,
           v.local, b.base, v.local - h.cost_basis_local, b.base - h.cost_basis
    FROM held p
    JOIN portfolios f USING (portfolio_id)
    JOIN position_history h ON h.position_id = p.position_id AND h.valid_to_epoch IS NULL
    JOIN priced x ON x.security_id = p.security_id
    JOIN rates r ON r.base_currency = f.base_currency AND r.date = x.date
    CROSS JOIN LATERAL (SELECT round(h.quantity * x.price, 10) AS local OFFSET 0) v
    CROSS JOIN LATERAL (SELECT round(v.local * r.fx_rate, 10) AS base OFFSET 0) b
"""

CHECKSUM = """
    SELECT count(*) AS rows, COALESCE(bit_xor(hashtextextended(
               concat_ws('|', position_id, date, price_date, fx_date, fx_path, status, quantity,
                         cost_basis_local, cost_basis, trim_scale(price), trim_scale(fx_rate),
                         market_value_local, market_value, unrealized_gain_local,
                         unrealized_gain), 0)), 0) AS digest
    FROM {relation}
"""

# What readers see, without the view's joins: the newest published row of each position and date.
VISIBLE = """(
    SELECT DISTINCT ON (d.position_id, d.date) d.*
    FROM daily_position_snapshots d JOIN position_state p USING (position_id)
    WHERE d.epoch <= p.published_epoch
    ORDER BY d.position_id, d.date, d.epoch DESC) visible"""
