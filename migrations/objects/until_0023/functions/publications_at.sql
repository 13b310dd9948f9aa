-- Return what each position publishes now (known_at NULL) or published at a past time: the greatest
-- epoch that readers see, the dates on which the position is open, and the dates among them that
-- show no number (hidden).
--
-- A position that had published nothing at known_at has no row. One half of the UNION ALL is always
-- empty. The planner sees that, because the function is inlined and known_at is then a constant.
CREATE OR REPLACE FUNCTION publications_at(known_at timestamptz)
RETURNS TABLE (
    position_id bigint, portfolio_id text, security_id text, published_epoch integer,
    open_dates datemultirange, hidden datemultirange)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT p.position_id, p.portfolio_id, p.security_id, p.published_epoch,
           p.published_open_dates, p.published_hidden
    FROM position_state p
    WHERE known_at IS NULL
    UNION ALL
    SELECT p.position_id, p.portfolio_id, p.security_id, u.epoch, u.open_dates, u.hidden
    FROM position_state p
    CROSS JOIN LATERAL (
        SELECT w.epoch, w.open_dates, w.hidden
        FROM publications w JOIN moments m ON m.moment_id = w.moment_id
        WHERE w.position_id = p.position_id AND m.at <= known_at
        ORDER BY m.at DESC
        LIMIT 1
    ) u
    WHERE known_at IS NOT NULL;
END;
