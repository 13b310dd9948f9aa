-- Since when each of these positions was in correction at :known_at (null: now): from the commit of the first correction that its
-- next publication answers, or that is still to be answered. One from before there were moments has the time of its write.
SELECT p.position_id, min(s.at) AS since
FROM position_state p
CROSS JOIN LATERAL (
    SELECT c.at
    FROM publications n JOIN moments m ON m.moment_id = n.moment_id JOIN moments c ON c.moment_id = n.stale_moment
    WHERE n.position_id = p.position_id AND m.at > :known_at::timestamptz
    UNION ALL
    SELECT COALESCE((SELECT at FROM moments WHERE moment_id = p.stale_moment),
                    (SELECT created_at FROM reprocessing_triggers WHERE trigger_id = p.trigger_id))
    WHERE p.published_epoch < p.epoch
    UNION ALL
    SELECT COALESCE(c.at, t.created_at)
    FROM trigger_reach r JOIN reprocessing_triggers t USING (trigger_id) LEFT JOIN moments c ON c.moment_id = t.moment_id
    WHERE r.fanned_out_at IS NULL AND r.position_id = p.position_id
      AND NOT isempty(r.dates * p.open_dates * datemultirange(daterange(NULL, p.frontier_date, '(]')))
) s
WHERE p.position_id = ANY (:positions::bigint[]) AND s.at <= COALESCE(:known_at::timestamptz, 'infinity')
GROUP BY p.position_id
