-- Corrections that are not complete: queued, or with keys that are not published yet.
SELECT t.trigger_id, t.kind, t.security_id, t.base_currency, t.quote_currency, t.created_at, t.fanned_out_at, t.keys_raised,
       k.keys_left
FROM reprocessing_triggers t
LEFT JOIN (
    SELECT trigger_id, count(*) AS keys_left FROM position_state WHERE published_epoch < epoch GROUP BY trigger_id
) k USING (trigger_id)
WHERE t.fanned_out_at IS NULL OR k.keys_left > 0
ORDER BY t.trigger_id
LIMIT :most
