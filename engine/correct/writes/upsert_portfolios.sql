-- Insert incoming rows that are new and update those that differ; count what became of them. The
-- database triggers of the table record what that corrects.
WITH written AS (
    INSERT INTO portfolios AS t (portfolio_id, base_currency, calendar_id)
    SELECT portfolio_id, base_currency, calendar_id FROM incoming ORDER BY portfolio_id
    ON CONFLICT (portfolio_id) DO UPDATE
    SET base_currency = excluded.base_currency, calendar_id = excluded.calendar_id
    WHERE (t.base_currency, t.calendar_id)
          IS DISTINCT FROM (excluded.base_currency, excluded.calendar_id)
    RETURNING xmax = 0 AS is_new
)
SELECT count(*) FILTER (WHERE is_new) AS inserted,
       count(*) FILTER (WHERE NOT is_new) AS changed,
       (SELECT count(*) FROM incoming) - count(*) AS unchanged
FROM written
