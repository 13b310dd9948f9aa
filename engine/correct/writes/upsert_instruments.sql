-- Insert incoming rows that are new and update those that differ; count what became of them. The
-- database triggers of the table record what that corrects.
--
-- NOT EXISTS, and not ON CONFLICT alone: each row that is proposed takes an instrument_no, also one
-- that is not inserted. ON CONFLICT is for a row that another load has inserted meanwhile. Rows are
-- locked in the order of their ids, so that two loads do not deadlock.
WITH written AS (
    INSERT INTO instruments AS t
        (security_id, currency, contract_multiplier, max_price_age_sessions, move_limit_percent)
    SELECT security_id, currency, contract_multiplier, max_price_age_sessions,
           move_limit_percent
    FROM incoming i
    WHERE NOT EXISTS (SELECT FROM instruments s WHERE s.security_id = i.security_id)
    ORDER BY security_id
    ON CONFLICT (security_id) DO UPDATE
    SET currency = excluded.currency,
        contract_multiplier = excluded.contract_multiplier,
        max_price_age_sessions = excluded.max_price_age_sessions,
        move_limit_percent = excluded.move_limit_percent
    WHERE (t.currency, t.contract_multiplier, t.max_price_age_sessions, t.move_limit_percent)
          IS DISTINCT FROM
          (excluded.currency, excluded.contract_multiplier, excluded.max_price_age_sessions,
           excluded.move_limit_percent)
    RETURNING xmax = 0 AS is_new
), updated AS (
    UPDATE instruments t
    SET currency = i.currency,
        contract_multiplier = i.contract_multiplier,
        max_price_age_sessions = i.max_price_age_sessions,
        move_limit_percent = i.move_limit_percent
    FROM (
        SELECT s.security_id, i.currency, i.contract_multiplier, i.max_price_age_sessions,
               i.move_limit_percent
        FROM instruments s
        JOIN incoming i USING (security_id)
        WHERE (s.currency, s.contract_multiplier, s.max_price_age_sessions, s.move_limit_percent)
              IS DISTINCT FROM
              (i.currency, i.contract_multiplier, i.max_price_age_sessions, i.move_limit_percent)
        ORDER BY s.security_id
        FOR NO KEY UPDATE OF s
    ) i
    WHERE t.security_id = i.security_id
    RETURNING false AS is_new
)
SELECT count(*) FILTER (WHERE is_new) AS inserted,
       count(*) FILTER (WHERE NOT is_new) AS changed,
       (SELECT count(*) FROM incoming) - count(*) AS unchanged
FROM (SELECT is_new FROM written UNION ALL SELECT is_new FROM updated) both_ways
