-- Corrections that are not complete: queued, or with keys that are not published yet. One of a position names it; of a file of
-- positions, which is one correction, only the first is asked for.
SELECT t.trigger_id, t.kind, COALESCE(t.security_id, p.security_id) AS security_id, p.portfolio_id, t.base_currency,
       t.quote_currency, lower(t.dates) AS first_date, upper(t.dates) - 1 AS last_date, t.created_at, t.fanned_out_at,
       t.keys_raised, k.keys_left,
       CASE WHEN t.fanned_out_at IS NOT NULL AND t.keys_raised > 0
            THEN (1 - LEAST(k.keys_left::double precision / t.keys_raised, 1)) END AS progress
FROM reprocessing_triggers t
LEFT JOIN (
    SELECT trigger_id, count(*) AS keys_left, min(position_id) AS position_id
    FROM position_state
    WHERE published_epoch < epoch
    GROUP BY trigger_id
) k USING (trigger_id)
LEFT JOIN position_state p ON p.position_id = k.position_id AND t.kind = 'POSITION' AND t.keys_raised = 1
WHERE t.fanned_out_at IS NULL OR k.keys_left > 0
ORDER BY t.trigger_id
LIMIT :most
