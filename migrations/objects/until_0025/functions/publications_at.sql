-- Return what each position publishes now (known_at NULL) or published at a past time: the greatest
-- epoch that readers see, the dates on which the position is open, and the dates among them that
-- show no number (hidden). Of the positions of a portfolio, of a security, or of all (NULL).
--
-- A position that had published nothing at known_at has no row. A job that was one publication
-- raised the epochs of its positions and changed nothing else; epochs only rise, so the greatest of
-- both kinds is the published one. Such jobs are found by the range of position ids that they have
-- in common with the positions that are asked for.
--
-- One half of the UNION ALL is always empty. The planner sees that, because the function is inlined
-- and known_at is then a constant.
CREATE OR REPLACE FUNCTION publications_at(
    known_at timestamptz, of_portfolio text DEFAULT NULL, of_security text DEFAULT NULL)
RETURNS TABLE (
    position_id bigint, portfolio_id text, security_id text, published_epoch integer,
    open_dates datemultirange, hidden datemultirange)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT p.position_id, p.portfolio_id, p.security_id, p.published_epoch,
           p.published_open_dates, p.published_hidden
    FROM position_state p
    WHERE known_at IS NULL
      AND (of_portfolio IS NULL OR p.portfolio_id = of_portfolio)
      AND (of_security IS NULL OR p.security_id = of_security)
    UNION ALL
    SELECT p.position_id, p.portfolio_id, p.security_id, GREATEST(u.epoch, r.epoch), u.open_dates,
           u.hidden
    FROM position_state p
    CROSS JOIN LATERAL (
        SELECT w.epoch, w.open_dates, w.hidden
        FROM publications w JOIN moments m ON m.moment_id = w.moment_id
        WHERE w.position_id = p.position_id AND m.at <= known_at
        ORDER BY m.at DESC
        LIMIT 1
    ) u
    LEFT JOIN (
        SELECT s.position_id, max(s.epoch) AS epoch
        FROM job_spans s JOIN moments m ON m.moment_id = s.published_moment
        WHERE m.at <= known_at
          AND s.position_range && (
              SELECT int8range(min(a.position_id), max(a.position_id), '[]')
              FROM position_state a
              WHERE (of_portfolio IS NULL OR a.portfolio_id = of_portfolio)
                AND (of_security IS NULL OR a.security_id = of_security))
        GROUP BY s.position_id
    ) r ON r.position_id = p.position_id
    WHERE known_at IS NOT NULL
      AND (of_portfolio IS NULL OR p.portfolio_id = of_portfolio)
      AND (of_security IS NULL OR p.security_id = of_security);
END;
