"""Create the triggers that make a write a correction, and the views of reach and of readers.

History: the present definition of each view, function and trigger is in migrations/objects.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FUNCTIONS = (
    """
    CREATE FUNCTION sees_committed_writes() RETURNS boolean LANGUAGE sql AS
    $$ SELECT current_setting('transaction_isolation') = 'read committed' $$
    """,
    """
    CREATE FUNCTION record_price_correction(securities text[], dates date[]) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF cardinality(securities) = 0 THEN
            RETURN;
        END IF;
        PERFORM 1 FROM instruments WHERE security_id = ANY (securities) ORDER BY security_id FOR NO KEY UPDATE;
        WITH changed AS (
            SELECT c.security_id, c.price_date FROM unnest(securities, dates) AS c (security_id, price_date)
        ), span AS MATERIALIZED (
            SELECT c.security_id, min(c.price_date) AS first, max(c.price_date) AS last FROM changed c GROUP BY 1
        ), neighbours AS (
            SELECT security_id, price_date, bool_or(has_changed) AS has_changed
            FROM (SELECT security_id, price_date, true AS has_changed FROM changed
                  UNION ALL
                  SELECT p.security_id, p.price_date, false
                  FROM span s JOIN market_prices p USING (security_id)
                  WHERE p.price_date > s.first AND p.price_date < s.last) dates
            GROUP BY 1, 2
        ), reaches AS (
            SELECT security_id, price_date, has_changed,
                   lead(price_date) OVER (PARTITION BY security_id ORDER BY price_date) AS next
            FROM neighbours
        )
        INSERT INTO reprocessing_triggers (kind, security_id, dates)
        SELECT 'PRICE', s.security_id, range_agg(daterange(r.price_date, CASE WHEN sees_committed_writes() THEN COALESCE(
                   r.next, (SELECT min(p.price_date) FROM market_prices p
                            WHERE p.security_id = s.security_id AND p.price_date > s.last)) END))
        FROM span s JOIN reaches r USING (security_id)
        WHERE r.has_changed
        GROUP BY s.security_id
        ORDER BY s.security_id;
        NOTIFY revalue_wake;
    END $$
    """,
    """
    CREATE FUNCTION on_prices_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO security_quote_currencies
        SELECT DISTINCT security_id, currency FROM changed ORDER BY 1, 2 ON CONFLICT DO NOTHING;
        PERFORM record_price_correction(array_agg(security_id), array_agg(price_date)) FROM changed HAVING count(*) > 0;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION on_prices_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM record_price_correction(array_agg(security_id), array_agg(price_date)) FROM changed HAVING count(*) > 0;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION on_prices_updated() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO security_quote_currencies
        SELECT DISTINCT security_id, currency FROM new_rows ORDER BY 1, 2 ON CONFLICT DO NOTHING;
        PERFORM record_price_correction(array_agg(security_id), array_agg(price_date))
        FROM (SELECT security_id, price_date FROM (TABLE old_rows EXCEPT TABLE new_rows) was
              UNION SELECT security_id, price_date FROM (TABLE new_rows EXCEPT TABLE old_rows) becomes) changed
        HAVING count(*) > 0;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION record_fx_correction(bases text[], quotes text[], dates date[]) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF cardinality(bases) = 0 THEN
            RETURN;
        END IF;
        PERFORM pg_advisory_xact_lock(hashtextextended('revalue.fx:' || pair, 0))
        FROM (SELECT DISTINCT b || '/' || q AS pair FROM unnest(bases, quotes) AS u (b, q) ORDER BY 1) pairs;
        WITH changed AS (
            SELECT c.base_currency, c.quote_currency, c.rate_date
            FROM unnest(bases, quotes, dates) AS c (base_currency, quote_currency, rate_date)
        ), span AS MATERIALIZED (
            SELECT c.base_currency, c.quote_currency, min(c.rate_date) AS first, max(c.rate_date) AS last
            FROM changed c GROUP BY 1, 2
        ), neighbours AS (
            SELECT base_currency, quote_currency, rate_date, bool_or(has_changed) AS has_changed
            FROM (SELECT base_currency, quote_currency, rate_date, true AS has_changed FROM changed
                  UNION ALL
                  SELECT r.base_currency, r.quote_currency, r.rate_date, false
                  FROM span s JOIN fx_rates r USING (base_currency, quote_currency)
                  WHERE r.rate_date > s.first AND r.rate_date < s.last) dates
            GROUP BY 1, 2, 3
        ), reaches AS (
            SELECT base_currency, quote_currency, rate_date, has_changed,
                   lead(rate_date) OVER (PARTITION BY base_currency, quote_currency ORDER BY rate_date) AS next
            FROM neighbours
        )
        INSERT INTO reprocessing_triggers (kind, base_currency, quote_currency, dates)
        SELECT 'FX', s.base_currency, s.quote_currency, range_agg(daterange(r.rate_date,
                   CASE WHEN sees_committed_writes() THEN COALESCE(
                   r.next, (SELECT min(f.rate_date) FROM fx_rates f
                            WHERE f.base_currency = s.base_currency AND f.quote_currency = s.quote_currency
                              AND f.rate_date > s.last)) END))
        FROM span s JOIN reaches r USING (base_currency, quote_currency)
        WHERE r.has_changed
        GROUP BY s.base_currency, s.quote_currency
        ORDER BY s.base_currency, s.quote_currency;
        NOTIFY revalue_wake;
    END $$
    """,
    """
    CREATE FUNCTION on_rates_inserted_or_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM record_fx_correction(array_agg(base_currency), array_agg(quote_currency), array_agg(rate_date))
        FROM changed HAVING count(*) > 0;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION on_rates_updated() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM record_fx_correction(array_agg(base_currency), array_agg(quote_currency), array_agg(rate_date))
        FROM (SELECT base_currency, quote_currency, rate_date FROM (TABLE old_rows EXCEPT TABLE new_rows) was
              UNION
              SELECT base_currency, quote_currency, rate_date FROM (TABLE new_rows EXCEPT TABLE old_rows) becomes)
              changed
        HAVING count(*) > 0;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION on_business_dates_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM 1 FROM calendars WHERE calendar_id IN (SELECT calendar_id FROM changed)
        ORDER BY calendar_id FOR NO KEY UPDATE;
        INSERT INTO reprocessing_triggers (kind, calendar_id, dates)
        SELECT 'CALENDAR', c.calendar_id, datemultirange(daterange(min(c.business_date), NULL))
        FROM changed c
        LEFT JOIN (SELECT b.calendar_id, max(b.business_date) AS last
                   FROM business_dates b LEFT JOIN changed n USING (calendar_id, business_date)
                   WHERE n.calendar_id IS NULL AND b.calendar_id IN (SELECT calendar_id FROM changed)
                   GROUP BY b.calendar_id) before USING (calendar_id)
        WHERE NOT sees_committed_writes() OR c.business_date < before.last
        GROUP BY c.calendar_id
        ORDER BY c.calendar_id;
        NOTIFY revalue_wake;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION on_business_dates_removed() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        kept record;
    BEGIN
        PERFORM 1 FROM calendars WHERE calendar_id IN (SELECT calendar_id FROM removed)
        ORDER BY calendar_id FOR NO KEY UPDATE;
        SELECT r.calendar_id, r.business_date, count(*) AS keys INTO kept
        FROM removed r
        JOIN portfolios f USING (calendar_id)
        JOIN position_state p ON p.portfolio_id = f.portfolio_id AND p.frontier_date >= r.business_date
        GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'business date % of calendar % cannot be closed again: % positions are valued on it',
                kept.business_date, kept.calendar_id, kept.keys
                USING ERRCODE = 'restrict_violation', HINT = 'Only dates after every frontier can be taken back.';
        END IF;
        NOTIFY revalue_wake;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION on_instrument_update() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.currency <> OLD.currency
           AND EXISTS (SELECT FROM position_state WHERE security_id = OLD.security_id) THEN
            RAISE EXCEPTION 'currency of security % cannot become %: positions state their cost basis in %',
                OLD.security_id, NEW.currency, OLD.currency
                USING ERRCODE = 'restrict_violation', HINT = 'Load the instrument under a new security_id.';
        END IF;
        IF (NEW.currency, NEW.max_price_age_sessions) IS DISTINCT FROM (OLD.currency, OLD.max_price_age_sessions)
           OR NEW.contract_multiplier IS DISTINCT FROM OLD.contract_multiplier THEN
            INSERT INTO reprocessing_triggers (kind, security_id, dates)
            VALUES ('INSTRUMENT', NEW.security_id, '{(,)}');
            NOTIFY revalue_wake;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION on_portfolio_update() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (NEW.base_currency, NEW.calendar_id) IS DISTINCT FROM (OLD.base_currency, OLD.calendar_id)
           AND EXISTS (SELECT FROM position_state WHERE portfolio_id = OLD.portfolio_id) THEN
            RAISE EXCEPTION 'base currency and calendar of portfolio % cannot change: it has positions',
                OLD.portfolio_id
                USING ERRCODE = 'restrict_violation', HINT = 'Load the portfolio under a new portfolio_id.';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION on_policy_update() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW IS DISTINCT FROM OLD THEN
            INSERT INTO reprocessing_triggers (kind, dates) VALUES ('POLICY', '{(,)}');
            NOTIFY revalue_wake;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'TRUNCATE of % would remove data without a correction', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', HINT = 'Use DELETE: it records what has to be revalued.';
    END $$
    """,
    """
    CREATE FUNCTION round_half_even(x numeric, places integer) RETURNS numeric
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
        SELECT CASE WHEN abs(r - x) * 2 = 10::numeric ^ (-places) AND mod(abs(r) * 10::numeric ^ places, 2) = 1
                    THEN round(r - sign(x) * 10::numeric ^ (-places), places) ELSE r END
        FROM (SELECT round(x, places) AS r) rounded
    $$
    """,
)

TRUNCATE_REFUSED = (
    "market_prices",
    "fx_rates",
    "business_dates",
    "position_history",
    "valuation_policy",
)

TRIGGERS = (
    """CREATE TRIGGER prices_inserted AFTER INSERT ON market_prices REFERENCING NEW TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION on_prices_inserted()""",
    """CREATE TRIGGER prices_deleted AFTER DELETE ON market_prices REFERENCING OLD TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION on_prices_deleted()""",
    """CREATE TRIGGER prices_updated AFTER UPDATE ON market_prices
       REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
       FOR EACH STATEMENT EXECUTE FUNCTION on_prices_updated()""",
    """CREATE TRIGGER rates_inserted AFTER INSERT ON fx_rates REFERENCING NEW TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION on_rates_inserted_or_deleted()""",
    """CREATE TRIGGER rates_deleted AFTER DELETE ON fx_rates REFERENCING OLD TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION on_rates_inserted_or_deleted()""",
    """CREATE TRIGGER rates_updated AFTER UPDATE ON fx_rates REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
       FOR EACH STATEMENT EXECUTE FUNCTION on_rates_updated()""",
    """CREATE TRIGGER business_dates_inserted AFTER INSERT ON business_dates REFERENCING NEW TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION on_business_dates_inserted()""",
    """CREATE TRIGGER business_dates_deleted AFTER DELETE ON business_dates REFERENCING OLD TABLE AS removed
       FOR EACH STATEMENT EXECUTE FUNCTION on_business_dates_removed()""",
    """CREATE TRIGGER business_dates_left AFTER UPDATE ON business_dates REFERENCING OLD TABLE AS removed
       FOR EACH STATEMENT EXECUTE FUNCTION on_business_dates_removed()""",
    """CREATE TRIGGER business_dates_moved AFTER UPDATE ON business_dates REFERENCING NEW TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION on_business_dates_inserted()""",
    """CREATE TRIGGER instrument_updated AFTER UPDATE ON instruments
       FOR EACH ROW EXECUTE FUNCTION on_instrument_update()""",
    """CREATE TRIGGER portfolio_updated AFTER UPDATE ON portfolios
       FOR EACH ROW EXECUTE FUNCTION on_portfolio_update()""",
    """CREATE TRIGGER policy_updated AFTER UPDATE ON valuation_policy
       FOR EACH ROW EXECUTE FUNCTION on_policy_update()""",
    *(
        f"""CREATE TRIGGER {table}_truncated BEFORE TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate()"""
        for table in TRUNCATE_REFUSED
    ),
)

VIEWS = (
    """
    CREATE VIEW position_conversions AS
    SELECT p.position_id, i.currency AS from_currency, f.base_currency AS to_currency
    FROM position_state p JOIN instruments i USING (security_id) JOIN portfolios f USING (portfolio_id)
    WHERE i.currency <> f.base_currency
    UNION
    SELECT p.position_id, c.major_currency, i.currency
    FROM position_state p
    JOIN instruments i USING (security_id)
    JOIN security_quote_currencies q USING (security_id)
    JOIN currencies c ON c.currency = q.currency
    WHERE c.major_currency <> i.currency
    """,
    """
    CREATE VIEW trigger_reach AS
    SELECT t.trigger_id, t.fanned_out_at, p.position_id, t.dates
    FROM reprocessing_triggers t JOIN position_state p USING (security_id)
    WHERE t.kind IN ('PRICE', 'INSTRUMENT')
    UNION ALL
    SELECT t.trigger_id, t.fanned_out_at, c.position_id, t.dates
    FROM reprocessing_triggers t
    CROSS JOIN valuation_policy v
    JOIN position_conversions c
      ON (c.from_currency, c.to_currency) IN ((t.base_currency, t.quote_currency), (t.quote_currency, t.base_currency))
      OR (t.base_currency = v.fx_pivot_currency AND t.quote_currency IN (c.from_currency, c.to_currency))
      OR (t.quote_currency = v.fx_pivot_currency AND t.base_currency IN (c.from_currency, c.to_currency))
    WHERE t.kind = 'FX'
    UNION ALL
    SELECT t.trigger_id, t.fanned_out_at, p.position_id, t.dates
    FROM reprocessing_triggers t
    JOIN portfolios f USING (calendar_id) JOIN position_state p USING (portfolio_id)
    WHERE t.kind = 'CALENDAR'
    UNION ALL
    SELECT t.trigger_id, t.fanned_out_at, p.position_id, t.dates
    FROM reprocessing_triggers t CROSS JOIN position_state p
    WHERE t.kind = 'POLICY'
    """,
    """
    CREATE VIEW queued_keys AS
    SELECT r.position_id
    FROM trigger_reach r JOIN position_state p USING (position_id)
    WHERE r.fanned_out_at IS NULL
      AND NOT isempty(r.dates * p.open_dates * datemultirange(daterange(NULL, p.frontier_date, '(]')))
    """,
    """
    CREATE VIEW position_status AS
    SELECT p.position_id, p.portfolio_id, p.security_id,
           CASE WHEN j.status = 'FAILED' THEN 'FAILED'
                WHEN j.status = 'WAITING_FOR_DATA' THEN 'WAITING_FOR_DATA'
                WHEN p.published_epoch < p.epoch OR q.queued THEN 'REPROCESSING'
                WHEN NOT isempty(p.pending) OR p.frontier_date IS NULL OR p.frontier_date < h.horizon THEN 'BEHIND'
                ELSE 'CURRENT' END AS state,
           CASE WHEN p.published_epoch < p.epoch OR q.queued THEN 'IN_PROGRESS' ELSE 'CURRENT' END
               AS reprocessing_status,
           p.epoch, p.published_epoch, p.watermark_date, p.frontier_date, h.horizon, p.pending, j.job_id,
           j.failure_reason
    FROM position_state p
    JOIN portfolios f USING (portfolio_id)
    LEFT JOIN (SELECT calendar_id, max(business_date) AS horizon FROM business_dates GROUP BY calendar_id) h
        USING (calendar_id)
    CROSS JOIN LATERAL (
        SELECT EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL)
               AND EXISTS (SELECT FROM queued_keys k WHERE k.position_id = p.position_id) AS queued
    ) q
    LEFT JOIN LATERAL (
        SELECT w.job_id, w.status, w.failure_reason
        FROM portfolio_valuation_jobs w
        WHERE NOT isempty(p.pending) AND w.position_id = p.position_id AND w.epoch = p.epoch
          AND w.status IN ('WAITING_FOR_DATA', 'FAILED')
        ORDER BY w.first_date
        LIMIT 1
    ) j ON true
    """,
    """
    CREATE VIEW position_valuations AS
    SELECT p.portfolio_id, p.security_id, s.date, f.base_currency, i.currency AS local_currency,
           CASE s.status WHEN 0 THEN 'VALUED_CURRENT' ELSE 'VALUED_STALE' END AS valuation_status,
           CASE WHEN p.published_epoch < p.epoch OR q.queued THEN 'IN_PROGRESS' ELSE 'CURRENT' END
               AS reprocessing_status,
           s.quantity, s.cost_basis_local, s.cost_basis, s.price, s.price_date, s.fx_rate, s.fx_date, s.fx_path,
           s.market_value_local, s.market_value, s.unrealized_gain_local, s.unrealized_gain,
           e.price_effect, s.unrealized_gain - e.price_effect AS fx_effect,
           s.epoch, p.watermark_date, s.position_id, s.job_id
    FROM position_state p
    JOIN portfolios f USING (portfolio_id)
    JOIN instruments i USING (security_id)
    JOIN daily_position_snapshots s
      ON s.position_id = p.position_id AND s.epoch <= p.published_epoch AND s.date <@ p.published_open_dates
    CROSS JOIN LATERAL (
        SELECT EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL)
               AND EXISTS (SELECT FROM queued_keys k WHERE k.position_id = p.position_id) AS queued
    ) q
    CROSS JOIN LATERAL (
        -- Not bound to 18 digits: a gain that fits can split into two effects that do not.
        SELECT COALESCE(round_half_even(s.unrealized_gain_local * s.fx_rate, 10), 0) AS price_effect
    ) e
    WHERE NOT EXISTS (
        SELECT FROM daily_position_snapshots n
        WHERE n.position_id = s.position_id AND n.date = s.date AND n.epoch > s.epoch AND n.epoch <= p.published_epoch
    )
    """,
)


def upgrade() -> None:
    for statement in (*FUNCTIONS, *TRIGGERS, *VIEWS):
        op.execute(statement)


def downgrade() -> None:
    op.execute(
        "DROP VIEW position_valuations, position_status, queued_keys, trigger_reach, "
        "position_conversions"
    )
    for table in TRUNCATE_REFUSED:
        op.execute(f"DROP TRIGGER {table}_truncated ON {table}")
    op.execute("DROP TRIGGER policy_updated ON valuation_policy")
    op.execute("DROP TRIGGER portfolio_updated ON portfolios")
    op.execute("DROP TRIGGER instrument_updated ON instruments")
    for name in ("inserted", "deleted", "left", "moved"):
        op.execute(f"DROP TRIGGER business_dates_{name} ON business_dates")
    for name in ("inserted", "deleted", "updated"):
        op.execute(f"DROP TRIGGER rates_{name} ON fx_rates")
        op.execute(f"DROP TRIGGER prices_{name} ON market_prices")
    op.execute(
        "DROP FUNCTION round_half_even, refuse_truncate, on_policy_update, on_portfolio_update, "
        "on_instrument_update, on_business_dates_removed, on_business_dates_inserted, "
        "on_rates_updated, on_rates_inserted_or_deleted, record_fx_correction, on_prices_updated, "
        "on_prices_deleted, on_prices_inserted, record_price_correction, sees_committed_writes"
    )
