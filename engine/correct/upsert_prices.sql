-- Insert incoming rows that are new and update those that differ; count what became of them. The
-- database triggers of the table record what that corrects.
WITH written AS (
    INSERT INTO market_prices AS t (security_id, price_date, price, currency, quote_basis)
    SELECT security_id, price_date, price, currency, quote_basis
    FROM incoming
    ORDER BY security_id, price_date
    ON CONFLICT (security_id, price_date) DO UPDATE
    SET price = excluded.price, currency = excluded.currency, quote_basis = excluded.quote_basis
    WHERE (t.price, t.currency, t.quote_basis)
          IS DISTINCT FROM (excluded.price, excluded.currency, excluded.quote_basis)
    RETURNING xmax = 0 AS is_new
)
SELECT count(*) FILTER (WHERE is_new) AS inserted,
       count(*) FILTER (WHERE NOT is_new) AS changed,
       (SELECT count(*) FROM incoming) - count(*) AS unchanged
FROM written
