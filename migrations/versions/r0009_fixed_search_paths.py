"""Bind every function to the tables of the schema; bound the dates; stamp commits under a row lock.

Until here a function looked its tables up by the search_path of its caller. A temporary table of
the same name was read in place of the real one: corrections were lost, and a reader of
revalue_reader could run code as the owner of the tables (valid_api_token).

Two locks were advisory locks with public numbers, which every user of the database can take. They
are rows now: moment_lock for the stamp of commits, currency_pairs for the writers of a pair's
rates. The triggers' functions run as the owner of the tables, so nobody else needs rights on them.

A moment is found by the id of its transaction, and no longer by a setting that any user can set.

CHECKs bound the dates of input tables to those that the loader accepts, and refuse a multiplier of
NaN. A business date beyond the bounds ended every scheduler, and could not be deleted any more. It
is removed here, with a warning, if nothing is valued on it. Any other row in the way refuses the
migration by name.
"""

import logging

from alembic import op

from revalue.migrations import objects

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BOUNDS = "BETWEEN '1900-01-01' AND '2200-12-31'"
DATES = {
    "business_dates": "business_date",
    "market_prices": "price_date",
    "fx_rates": "rate_date",
    "position_history": "position_date",
}
TRIGGER_FUNCTIONS = (
    "on_business_dates_inserted",
    "on_business_dates_removed",
    "on_instrument_update",
    "on_prices_deleted",
    "on_prices_inserted",
    "on_prices_updated",
    "on_rates_inserted_or_deleted",
    "on_rates_updated",
    "revise_calendars",
    "stamp_moment",
)
FUNCTIONS = (
    "business_dates_at",
    "check_position_numbers",
    "current_moment",
    "grant_revalue_roles",
    "merged_reach",
    *TRIGGER_FUNCTIONS,
    "on_policy_update",
    "on_portfolio_update",
    "publications_at",
    "positions_at",
    "record_fx_correction",
    "record_price_correction",
    "refuse_renumbering",
    "refuse_truncate",
    "reprocessing_since",
    "round_half_even",
    "sees_committed_writes",
    "snapshots_at",
    "valid_api_token",
)
TRIGGERS = ("business_dates", "fx_rates", "instruments", "market_prices", "moments")

ROWS_IN_THE_WAY = f"""
    DO $$
    DECLARE
        found text;
    BEGIN
        SELECT string_agg(format('%s: %s', place, named), '; ') INTO found
        FROM (
            SELECT place,
                   string_agg(name, ', ') FILTER (WHERE n <= 5)
                   || CASE WHEN max(n) > 5 THEN format(' and %s more', max(n) - 5) ELSE '' END
                       AS named
            FROM (
                SELECT place, name, row_number() OVER (PARTITION BY place ORDER BY name) AS n
                FROM (
                    SELECT 'market_prices' AS place,
                           format('price of %s on %s', security_id, price_date) AS name
                    FROM market_prices WHERE price_date NOT {BOUNDS}
                    UNION ALL
                    SELECT 'fx_rates',
                           format('rate %s/%s on %s', base_currency, quote_currency, rate_date)
                    FROM fx_rates WHERE rate_date NOT {BOUNDS}
                    UNION ALL
                    SELECT DISTINCT 'position_history',
                           format('record of %s / %s on %s', p.portfolio_id, p.security_id,
                                  h.position_date)
                    FROM position_history h JOIN position_state p USING (position_id)
                    WHERE h.position_date NOT {BOUNDS}
                    UNION ALL
                    SELECT DISTINCT 'business_dates',
                           format('%s of calendar %s, on which positions are valued',
                                  b.business_date, b.calendar_id)
                    FROM business_dates b
                    JOIN portfolios f USING (calendar_id)
                    JOIN position_state p USING (portfolio_id)
                    JOIN daily_position_snapshots s
                      ON s.position_id = p.position_id AND s.date = b.business_date
                    WHERE b.business_date NOT {BOUNDS}
                    UNION ALL
                    SELECT 'instruments', format('multiplier NaN of %s', security_id)
                    FROM instruments WHERE contract_multiplier = 'NaN'
                ) bad
            ) numbered
            GROUP BY place
            ORDER BY place
        ) listed;
        IF found IS NOT NULL THEN
            RAISE EXCEPTION 'rows are in the way of the migration to 0009: %', found
                USING ERRCODE = 'restrict_violation',
                      HINT = 'Dates are 1900-01-01 to 2200-12-31, and a multiplier is a number. '
                             'Correct or delete these rows, then migrate again.';
        END IF;
    END $$
"""

# A position that was scheduled beyond the bounds gets a new epoch, so that jobs beyond them are
# superseded, and the last business date within the bounds as its frontier.
BUSINESS_DATES_OUT_OF_BOUNDS = (
    "ALTER TABLE business_dates DISABLE TRIGGER USER",
    f"""
    WITH gone AS (
        DELETE FROM business_dates WHERE business_date NOT {BOUNDS} RETURNING calendar_id
    )
    UPDATE calendars SET revision = revision + 1
    WHERE calendar_id IN (SELECT calendar_id FROM gone)
    """,
    "ALTER TABLE business_dates ENABLE TRIGGER USER",
    """
    UPDATE position_state p
    SET epoch = p.epoch + 1,
        revision = p.revision + 1,
        stale_moment = CASE WHEN p.published_epoch = p.epoch THEN k.moment_id
                            ELSE p.stale_moment END,
        frontier_date = k.last,
        pending = p.pending
                  * datemultirange(daterange(NULL, COALESCE(k.last, '-infinity'), '(]'))
    FROM (SELECT f.portfolio_id, (SELECT current_moment()) AS moment_id,
                 (SELECT max(b.business_date) FROM business_dates b
                  WHERE b.calendar_id = f.calendar_id) AS last
          FROM portfolios f) k
    WHERE p.portfolio_id = k.portfolio_id AND p.frontier_date > '2200-12-31'
    """,
)


def upgrade() -> None:
    op.execute(ROWS_IN_THE_WAY)
    # xid: the transaction that has inserted the moment; NULL once it is stamped.
    op.execute("ALTER TABLE moments ADD COLUMN xid xid8")
    op.execute("CREATE UNIQUE INDEX moments_xid ON moments (xid) WHERE xid IS NOT NULL")
    remove_business_dates_out_of_bounds()
    for table, column in DATES.items():
        if table != "business_dates":
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_check")
        op.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT {column}_between_1900_and_2200 "
            f"CHECK ({column} {BOUNDS})"
        )
    op.execute(
        "ALTER TABLE instruments DROP CONSTRAINT instruments_contract_multiplier_check, "
        "ADD CONSTRAINT contract_multiplier_is_positive "
        "CHECK (contract_multiplier > 0 AND contract_multiplier <> 'NaN')"
    )
    # The transaction that stamps its moment and commits locks the one row.
    op.execute(
        "CREATE TABLE moment_lock (singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton))"
    )
    op.execute("INSERT INTO moment_lock DEFAULT VALUES")
    # Every pair of currencies that ever had a rate: its writers lock its row.
    op.execute(
        """
        CREATE TABLE currency_pairs (
            base_currency  text NOT NULL,
            quote_currency text NOT NULL,
            PRIMARY KEY (base_currency, quote_currency)
        )
        """
    )
    op.execute(
        "INSERT INTO currency_pairs SELECT DISTINCT base_currency, quote_currency FROM fx_rates"
    )
    op.execute("ALTER TABLE business_dates ALTER COLUMN moment_id DROP DEFAULT")
    objects.apply(
        "0009",
        *(f"functions/{name}" for name in (*FUNCTIONS, "set_business_date_moment")),
        "triggers/business_dates",
    )
    op.execute(
        """
        DO $$
        BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'revalue_engine') THEN
                REVOKE INSERT, UPDATE ON moments FROM revalue_engine;
            END IF;
        END $$
        """
    )
    op.execute("SELECT grant_revalue_roles()")


def remove_business_dates_out_of_bounds() -> None:
    found = op.get_bind().exec_driver_sql(
        f"SELECT calendar_id, business_date::text FROM business_dates "
        f"WHERE business_date NOT {BOUNDS} ORDER BY 1, 2"
    )
    removed = [f"{day} of calendar {calendar}" for calendar, day in found]
    if removed:
        for statement in BUSINESS_DATES_OUT_OF_BOUNDS:
            op.execute(statement)
        logging.getLogger("revalue.schema").warning(
            "business dates before 1900 or after 2200 were removed; nothing was valued on them: %s",
            ", ".join(removed),
        )


def downgrade() -> None:
    op.execute("DROP TRIGGER business_date_moment_set ON business_dates")
    op.execute("DROP FUNCTION set_business_date_moment")
    # CASCADE drops the triggers, which are created again. A function that is replaced would keep
    # its grants.
    for name in (*TRIGGER_FUNCTIONS, "record_fx_correction", "record_price_correction"):
        op.execute(f"DROP FUNCTION {name} CASCADE")
    objects.apply(
        "0008",
        *(f"functions/{name}" for name in FUNCTIONS),
        *(f"triggers/{name}" for name in TRIGGERS),
    )
    op.execute("ALTER TABLE business_dates ALTER COLUMN moment_id SET DEFAULT current_moment()")
    op.execute("DROP TABLE currency_pairs, moment_lock")
    op.execute("ALTER TABLE moments DROP COLUMN xid")
    op.execute(
        "ALTER TABLE instruments DROP CONSTRAINT contract_multiplier_is_positive, "
        "ADD CHECK (contract_multiplier > 0)"
    )
    for table, column in DATES.items():
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {column}_between_1900_and_2200")
        if table != "business_dates":
            op.execute(f"ALTER TABLE {table} ADD CHECK (isfinite({column}))")
    op.execute("SELECT grant_revalue_roles()")
