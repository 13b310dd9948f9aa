-- Return the positions as readers see them now (known_at NULL) or saw them at a past time: those of
-- a portfolio, of a security, or all (NULL).
--
-- Now: published_epoch, open_dates, hidden and everything that position_status says. Past: what is
-- recorded, which is the published epoch, both sets of dates and the reprocessing status; the other
-- columns are NULL. A position that had published nothing at known_at has no row. A reader that
-- needs no status asks publications_at.
--
-- A position was reprocessing (IN_PROGRESS) at known_at in three cases:
-- 1. It was invalidated by then, and is not published since.
-- 2. A publication after known_at ends an invalidation that is not later than known_at.
-- 3. A trigger that was queued then concerned it: judged as in queued_positions, by what was
--    published and opened at that time.
--
-- One half of the UNION ALL is always empty. The planner sees that, because the function is
-- inlined and known_at is then a constant, so a reader of the present does not pay for the past.
CREATE OR REPLACE FUNCTION positions_at(
    known_at timestamptz, of_portfolio text DEFAULT NULL, of_security text DEFAULT NULL)
RETURNS TABLE (
    position_id bigint, portfolio_id text, security_id text, published_epoch integer,
    open_dates datemultirange, hidden datemultirange, reprocessing_status text, state text,
    epoch integer, watermark_date date, frontier_date date, holes datemultirange,
    failure_reason text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT s.position_id, s.portfolio_id, s.security_id, s.published_epoch,
           s.published_open_dates, s.published_hidden, s.reprocessing_status, s.state, s.epoch,
           s.watermark_date, s.frontier_date, s.holes, s.failure_reason
    FROM position_status s
    WHERE known_at IS NULL
      AND (of_portfolio IS NULL OR s.portfolio_id = of_portfolio)
      AND (of_security IS NULL OR s.security_id = of_security)
    UNION ALL
    SELECT u.position_id, u.portfolio_id, u.security_id, u.published_epoch, u.open_dates, u.hidden,
           CASE WHEN (p.published_epoch < p.epoch
                      AND EXISTS (SELECT FROM moments m
                                  WHERE m.moment_id = p.invalidated_moment AND m.at <= known_at))
                  OR EXISTS (SELECT FROM publications n
                             JOIN moments m ON m.moment_id = n.moment_id
                             JOIN moments c ON c.moment_id = n.invalidated_moment
                             WHERE n.position_id = p.position_id
                               AND m.at > known_at AND c.at <= known_at)
                  OR p.position_id IN (
                      SELECT j.position_id
                      FROM job_spans j
                      JOIN moments m ON m.moment_id = j.published_moment
                      JOIN moments c ON c.moment_id = j.invalidated_moment
                      WHERE m.at > known_at AND c.at <= known_at
                        AND j.position_range && (
                            SELECT int8range(min(a.position_id), max(a.position_id), '[]')
                            FROM position_state a
                            WHERE (of_portfolio IS NULL OR a.portfolio_id = of_portfolio)
                              AND (of_security IS NULL OR a.security_id = of_security)))
                  OR (EXISTS (SELECT FROM queued_triggers_at(known_at))
                      AND queued_since(p.position_id, known_at) IS NOT NULL)
                THEN 'IN_PROGRESS' ELSE 'CURRENT' END,
           NULL, NULL, NULL, NULL, NULL, NULL
    FROM publications_at(known_at, of_portfolio, of_security) u
    JOIN position_state p ON p.position_id = u.position_id
    WHERE known_at IS NOT NULL;
END;
