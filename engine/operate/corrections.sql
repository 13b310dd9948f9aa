-- The corrections that are not complete, the oldest first: queued, or with positions that do not
-- publish them yet.
--
-- Corrections that were fanned out together (in one transaction, whose id their rows have)
-- invalidated each position once. How far they are is known of all of them, not of each. A position
-- that a later correction invalidated again counts for that one. A correction of one position names
-- the position.
WITH unpublished AS (
    SELECT trigger_id, count(*) AS positions, min(position_id) AS position_id
    FROM position_state
    WHERE published_epoch < epoch
    GROUP BY trigger_id
), together AS (
    SELECT t.xmin::text AS fan_out, sum(u.positions) AS positions_left
    FROM unpublished u JOIN reprocessing_triggers t USING (trigger_id)
    WHERE t.fanned_out_at IS NOT NULL
    GROUP BY t.xmin::text
)
SELECT t.trigger_id, t.kind, COALESCE(t.security_id, p.security_id) AS security_id, p.portfolio_id,
       t.base_currency, t.quote_currency, lower(t.dates) AS first_date,
       upper(t.dates) - 1 AS last_date, t.created_at, t.fanned_out_at,
       CASE WHEN t.fanned_out_at IS NULL THEN 1
            ELSE count(*) OVER (PARTITION BY g.fan_out) END AS together,
       t.positions_invalidated, g.positions_left::bigint,
       CASE WHEN t.positions_invalidated > 0
            THEN 1 - LEAST(g.positions_left::double precision / t.positions_invalidated, 1)
            END AS progress
FROM reprocessing_triggers t
LEFT JOIN together g ON g.fan_out = t.xmin::text AND t.fanned_out_at IS NOT NULL
LEFT JOIN unpublished u
  ON u.trigger_id = t.trigger_id AND t.kind = 'POSITION' AND t.positions_invalidated = 1
LEFT JOIN position_state p ON p.position_id = u.position_id
WHERE t.fanned_out_at IS NULL OR g.positions_left > 0
ORDER BY t.trigger_id
LIMIT :limit
