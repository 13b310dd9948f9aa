-- Return the positions as readers saw them at a time: published epoch, open dates and status.
--
-- A position was reprocessing (IN_PROGRESS) from the commit of the first correction that its next
-- publication answers, or that no publication answers yet. There are three cases:
-- 1. The position is invalidated now, and its first unanswered correction is not later than
--    known_at.
-- 2. A publication after known_at answers a correction that is not later than known_at.
-- 3. A trigger that is not yet fanned out, and is not later than known_at, affects the position.
CREATE OR REPLACE FUNCTION positions_at(known_at timestamptz)
RETURNS TABLE (
    position_id bigint, portfolio_id text, security_id text, epoch integer,
    open_dates datemultirange, reprocessing_status text)
LANGUAGE sql STABLE AS $$
    SELECT p.position_id, p.portfolio_id, p.security_id, u.epoch, u.open_dates,
           CASE WHEN (p.published_epoch < p.epoch
                      AND EXISTS (SELECT FROM moments m
                                  WHERE m.moment_id = p.stale_moment AND m.at <= known_at))
                  OR EXISTS (SELECT FROM publications n
                             JOIN moments m ON m.moment_id = n.moment_id
                             JOIN moments c ON c.moment_id = n.stale_moment
                             WHERE n.position_id = p.position_id
                               AND m.at > known_at AND c.at <= known_at)
                  OR (EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL)
                      AND EXISTS (
                          SELECT FROM trigger_reach r
                          JOIN reprocessing_triggers t ON t.trigger_id = r.trigger_id
                          LEFT JOIN moments m ON m.moment_id = t.moment_id
                          WHERE r.fanned_out_at IS NULL AND r.position_id = p.position_id
                            AND COALESCE(m.at, '-infinity') <= known_at
                            AND NOT isempty(
                                r.dates * p.open_dates
                                * datemultirange(daterange(
                                    NULL, COALESCE(p.frontier_date, '-infinity'), '(]')))))
                THEN 'IN_PROGRESS' ELSE 'CURRENT' END
    FROM position_state p
    CROSS JOIN LATERAL (
        SELECT w.epoch, w.open_dates
        FROM publications w JOIN moments m ON m.moment_id = w.moment_id
        WHERE w.position_id = p.position_id AND m.at <= known_at
        ORDER BY m.at DESC
        LIMIT 1
    ) u
$$;
