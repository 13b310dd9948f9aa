-- Return the time since which a position is reprocessing (known_at NULL), or was at known_at.
--
-- That is the commit of the first correction that its next publication answers, or that is queued
-- and concerns it. A correction that is older than moments are has the time of its write; NULL: it
-- is not recorded. Meant for positions that are IN_PROGRESS, so it looks one up at a time.
--
-- It is called for many rows: its plan is kept, where the session plans each statement anew.
CREATE OR REPLACE FUNCTION reprocessing_since(reprocessing bigint, known_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE SET plan_cache_mode = force_generic_plan
BEGIN ATOMIC
    SELECT min(s.at)
    FROM position_state p
    CROSS JOIN LATERAL (
        SELECT c.at
        FROM publications n
        JOIN moments m ON m.moment_id = n.moment_id
        JOIN moments i ON i.moment_id = n.invalidated_moment
        JOIN moments c ON c.moment_id = n.stale_moment
        WHERE n.position_id = p.position_id AND m.at > known_at AND i.at <= known_at
        UNION ALL
        SELECT c.at
        FROM job_spans j
        JOIN moments m ON m.moment_id = j.published_moment
        JOIN moments i ON i.moment_id = j.invalidated_moment
        JOIN moments c ON c.moment_id = j.stale_moment
        WHERE j.position_range @> p.position_id AND j.position_id = p.position_id
          AND m.at > known_at AND i.at <= known_at
        UNION ALL
        SELECT COALESCE(
            (SELECT m.at FROM moments m WHERE m.moment_id = p.stale_moment),
            (SELECT t.created_at FROM reprocessing_triggers t WHERE t.trigger_id = p.trigger_id))
        WHERE p.published_epoch < p.epoch
          AND (known_at IS NULL
               OR (SELECT m.at FROM moments m WHERE m.moment_id = p.invalidated_moment) <= known_at)
        UNION ALL
        SELECT queued_since(p.position_id, known_at)
    ) s
    WHERE p.position_id = reprocessing;
END;
