-- Every number that readers have seen of a position on a date, the oldest first: with the job that
-- wrote it, the correction that caused it, and from when to when it was shown.
--
-- A date that a correction of the position closed has the numbers it had. When a number was shown
-- that was superseded before there were moments is not known.
--
-- A job that was one publication changed no dates: they are those of the position's own publication
-- before it.
--
-- in_lake: the rows of the date that the lake has, as a JSON array of objects; NULL: none.
--
-- With a retention floor, these are the numbers that were shown at the floor or later, whether or
-- not earlier ones are still stored. One that was shown at the floor has no time from which it was
-- shown: the publications before are pruned.
WITH own AS (
    SELECT u.epoch, u.open_dates @> :date::date AND NOT u.hidden @> :date::date AS is_open, m.at
    FROM position_state p
    JOIN publications u USING (position_id)
    JOIN moments m USING (moment_id)
    WHERE p.portfolio_id = :portfolio AND p.security_id = :security
), publication AS (
    TABLE own
    UNION ALL
    SELECT s.epoch, o.is_open, m.at
    FROM position_state p
    JOIN job_spans s ON s.position_range @> p.position_id AND s.position_id = p.position_id
    JOIN moments m ON m.moment_id = s.published_moment
    CROSS JOIN LATERAL (
        SELECT w.is_open FROM own w WHERE w.at <= m.at ORDER BY w.at DESC LIMIT 1
    ) o
    WHERE p.portfolio_id = :portfolio AND p.security_id = :security
), number AS (
    SELECT s.*, p.published_epoch
    FROM position_state p
    CROSS JOIN LATERAL (
        SELECT * FROM dated_snapshots d WHERE d.position_id = p.position_id AND d.date = :date
        UNION ALL
        SELECT * FROM jsonb_populate_recordset(NULL::dated_snapshots, :in_lake::text::jsonb)
    ) s
    WHERE p.portfolio_id = :portfolio AND p.security_id = :security
), shown AS (
    SELECT u.at, u.is_open, n.epoch, GREATEST(u.at, n.valued_at) AS seen_at
    FROM publication u
    LEFT JOIN LATERAL (
        SELECT n.epoch, n.valued_at
        FROM number n
        WHERE n.epoch <= u.epoch
        ORDER BY n.epoch DESC
        LIMIT 1
    ) n ON u.is_open
), first_shown AS (
    SELECT epoch, min(seen_at) AS published_at FROM shown WHERE epoch IS NOT NULL GROUP BY epoch
), until AS (
    SELECT f.epoch, f.published_at, e.at AS superseded_at, NOT e.is_open AS was_closed
    FROM first_shown f
    LEFT JOIN LATERAL (
        SELECT s.at, s.is_open
        FROM shown s
        WHERE s.at > f.published_at AND s.epoch IS DISTINCT FROM f.epoch
        ORDER BY s.at
        LIMIT 1
    ) e ON true
)
SELECT n.epoch, x.published_at IS NOT NULL AND x.superseded_at IS NULL AS is_shown,
       CASE n.status WHEN 0 THEN 'VALUED_CURRENT' ELSE 'VALUED_STALE' END AS valuation_status,
       n.quantity, n.cost_basis_local, n.cost_basis, n.price, n.price_date, n.fx_rate, n.fx_date,
       n.market_value_local, n.market_value, n.unrealized_gain_local, n.unrealized_gain, n.job_id,
       j.finished_at AS valued_at,
       CASE WHEN f.floor IS NULL OR x.published_at > f.floor THEN x.published_at END
           AS published_at,
       x.superseded_at,
       COALESCE(x.was_closed, false) AS was_closed, t.trigger_id, t.kind AS cause,
       t.security_id AS cause_security, t.base_currency AS cause_base_currency,
       t.quote_currency AS cause_quote_currency, t.created_at AS corrected_at,
       COALESCE(t.who, t.database_user) AS corrected_by, t.why
FROM number n
LEFT JOIN until x ON x.epoch = n.epoch
LEFT JOIN retention f ON true
LEFT JOIN job_spans j
  ON j.job_id = n.job_id AND j.position_id = n.position_id
 AND n.date BETWEEN j.first_date AND j.last_date
LEFT JOIN reprocessing_triggers t ON t.trigger_id = j.trigger_id AND n.epoch > 0
WHERE CASE WHEN f.floor IS NULL
           THEN x.epoch IS NOT NULL
                OR (n.valued_at = '-infinity' AND n.epoch <= n.published_epoch)
           ELSE x.epoch IS NOT NULL AND COALESCE(x.superseded_at > f.floor, true) END
ORDER BY n.epoch
LIMIT :limit
