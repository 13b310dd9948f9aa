-- Return the time since which a position is reprocessing (known_at NULL), or was at known_at.
--
-- That is the commit of the first correction that its next publication answers, or that no
-- publication answers yet. A correction that is older than moments are has the time of its write;
-- NULL: it is not recorded. Meant for positions that are IN_PROGRESS, so it looks one up at a time.
CREATE OR REPLACE FUNCTION reprocessing_since(reprocessing bigint, known_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT min(s.at)
    FROM position_state p
    CROSS JOIN LATERAL (
        SELECT c.at
        FROM publications n
        JOIN moments m ON m.moment_id = n.moment_id
        JOIN moments c ON c.moment_id = n.stale_moment
        WHERE n.position_id = p.position_id AND m.at > known_at
        UNION ALL
        SELECT COALESCE(
            (SELECT at FROM moments WHERE moment_id = p.stale_moment),
            (SELECT created_at FROM reprocessing_triggers WHERE trigger_id = p.trigger_id))
        WHERE p.published_epoch < p.epoch
        UNION ALL
        SELECT COALESCE(c.at, t.created_at)
        FROM trigger_reach r
        JOIN reprocessing_triggers t USING (trigger_id)
        LEFT JOIN moments c ON c.moment_id = t.moment_id
        WHERE r.fanned_out_at IS NULL AND r.position_id = p.position_id
          AND NOT isempty(
              r.dates * p.open_dates * datemultirange(daterange(NULL, p.frontier_date, '(]')))
    ) s
    WHERE p.position_id = reprocessing AND s.at <= COALESCE(known_at, 'infinity');
END;
