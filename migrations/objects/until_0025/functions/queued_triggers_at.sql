-- Return the triggers that were queued at a past time, with the time of their commit.
--
-- A trigger that was fanned out before moments were recorded is not among them.
CREATE OR REPLACE FUNCTION queued_triggers_at(known_at timestamptz)
RETURNS TABLE (trigger_id bigint, at timestamptz)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT t.trigger_id, COALESCE(m.at, t.created_at)
    FROM reprocessing_triggers t
    LEFT JOIN moments m ON m.moment_id = t.moment_id
    LEFT JOIN moments f ON f.moment_id = t.fanned_out_moment
    WHERE t.created_at <= known_at AND COALESCE(m.at, '-infinity') <= known_at
      AND (t.fanned_out_at IS NULL OR f.at > known_at);
END;
