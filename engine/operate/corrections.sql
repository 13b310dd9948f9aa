-- The corrections that are not complete, the oldest first: queued, or with positions that do not
-- publish them yet.
--
-- Positions were counted when :last_moment was the last moment (NULL: there was none). Then
-- :positions of them did not publish the correction of :trigger_ids; one of them was :position_ids.
-- Of corrections that were fanned out since it is not known how many are left.
--
-- Corrections that were fanned out together (in one transaction, whose id their rows have)
-- invalidated each position once. How far they are is known of all of them, not of each. A position
-- that a later correction invalidated again counts for that one. A correction of one position names
-- the position.
WITH unpublished AS (
    SELECT *
    FROM unnest(:trigger_ids::bigint[], :positions::bigint[], :position_ids::bigint[])
        AS u (trigger_id, positions, position_id)
), together AS (
    SELECT t.xmin::text AS fan_out, sum(u.positions) AS positions_left
    FROM unpublished u JOIN reprocessing_triggers t USING (trigger_id)
    WHERE t.fanned_out_at IS NOT NULL
    GROUP BY t.xmin::text
), wanted AS (
    SELECT trigger_id FROM reprocessing_triggers WHERE fanned_out_at IS NULL
    UNION
    SELECT t.trigger_id
    FROM reprocessing_triggers t
    JOIN (SELECT xmin::text AS fan_out, fanned_out_moment FROM reprocessing_triggers
          WHERE trigger_id IN (SELECT trigger_id FROM unpublished)) o
      ON t.fanned_out_moment = o.fanned_out_moment AND t.xmin::text = o.fan_out
    UNION
    SELECT trigger_id FROM unpublished
    UNION
    SELECT t.trigger_id
    FROM moments m
    JOIN reprocessing_triggers t ON t.fanned_out_moment = m.moment_id
    WHERE t.positions_invalidated > 0 AND m.at > COALESCE(:last_moment::timestamptz, '-infinity')
    UNION
    -- A correction of positions invalidates them itself, at its own moment.
    SELECT t.trigger_id
    FROM (SELECT trigger_id, kind, moment_id, positions_invalidated FROM reprocessing_triggers
          ORDER BY trigger_id DESC
          LIMIT 1000) t
    JOIN moments m USING (moment_id)
    WHERE t.kind = 'POSITION' AND t.positions_invalidated > 0
      AND m.at > COALESCE(:last_moment::timestamptz, '-infinity')
)
SELECT t.trigger_id, t.kind, COALESCE(t.security_id, p.security_id) AS security_id, p.portfolio_id,
       t.base_currency, t.quote_currency, lower(t.dates) AS first_date,
       upper(t.dates) - 1 AS last_date, t.created_at,
       COALESCE(t.who, t.database_user) AS corrected_by, t.why, t.fanned_out_at,
       CASE WHEN t.fanned_out_at IS NULL THEN 1
            ELSE count(*) OVER (PARTITION BY t.fanned_out_at IS NULL, t.xmin::text) END AS together,
       t.positions_invalidated, g.positions_left::bigint,
       CASE WHEN t.positions_invalidated > 0 AND g.positions_left IS NOT NULL
            THEN 1 - LEAST(g.positions_left::double precision / t.positions_invalidated, 1)
            END AS progress
FROM wanted w
JOIN reprocessing_triggers t USING (trigger_id)
LEFT JOIN together g ON g.fan_out = t.xmin::text AND t.fanned_out_at IS NOT NULL
LEFT JOIN unpublished u
  ON u.trigger_id = t.trigger_id AND t.kind = 'POSITION' AND t.positions_invalidated = 1
LEFT JOIN position_state p ON p.position_id = u.position_id
ORDER BY t.trigger_id
LIMIT :limit
