-- Corrections that are not complete: queued, or with keys that are not published yet. Those that were fanned out together (by one
-- transaction, whose id their rows have) raised each key once: how far they are is known of all of them, not of each. A key that a
-- later correction raised again is left with that one. A correction of one position names it.
WITH unpublished AS (
    SELECT trigger_id, count(*) AS keys, min(position_id) AS position_id
    FROM position_state
    WHERE published_epoch < epoch
    GROUP BY trigger_id
), together AS (
    SELECT t.xmin::text AS fan_out, sum(u.keys) AS keys_left
    FROM unpublished u JOIN reprocessing_triggers t USING (trigger_id)
    WHERE t.fanned_out_at IS NOT NULL
    GROUP BY t.xmin::text
)
SELECT t.trigger_id, t.kind, COALESCE(t.security_id, p.security_id) AS security_id, p.portfolio_id, t.base_currency,
       t.quote_currency, lower(t.dates) AS first_date, upper(t.dates) - 1 AS last_date, t.created_at, t.fanned_out_at,
       CASE WHEN t.fanned_out_at IS NULL THEN 1 ELSE count(*) OVER (PARTITION BY g.fan_out) END AS together,
       t.keys_raised, g.keys_left::bigint,
       CASE WHEN t.keys_raised > 0 THEN 1 - LEAST(g.keys_left::double precision / t.keys_raised, 1) END AS progress
FROM reprocessing_triggers t
LEFT JOIN together g ON g.fan_out = t.xmin::text AND t.fanned_out_at IS NOT NULL
LEFT JOIN unpublished u ON u.trigger_id = t.trigger_id AND t.kind = 'POSITION' AND t.keys_raised = 1
LEFT JOIN position_state p ON p.position_id = u.position_id
WHERE t.fanned_out_at IS NULL OR g.keys_left > 0
ORDER BY t.trigger_id
LIMIT :most
