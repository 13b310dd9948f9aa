-- Insert incoming rows that are new and update those that differ; count what became of them. The
-- database triggers of the table record what that corrects.
WITH written AS (
    INSERT INTO instruments AS t
        (security_id, currency, contract_multiplier, max_price_age_sessions)
    SELECT security_id, currency, contract_multiplier, max_price_age_sessions
    FROM incoming
    ORDER BY security_id
    ON CONFLICT (security_id) DO UPDATE
    SET currency = excluded.currency,
        contract_multiplier = excluded.contract_multiplier,
        max_price_age_sessions = excluded.max_price_age_sessions
    WHERE (t.currency, t.contract_multiplier, t.max_price_age_sessions)
          IS DISTINCT FROM
          (excluded.currency, excluded.contract_multiplier, excluded.max_price_age_sessions)
    RETURNING xmax = 0 AS is_new
)
SELECT count(*) FILTER (WHERE is_new) AS inserted,
       count(*) FILTER (WHERE NOT is_new) AS changed,
       (SELECT count(*) FROM incoming) - count(*) AS unchanged
FROM written
