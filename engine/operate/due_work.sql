-- How many position-days are due, of positions that neither wait for data nor failed, and of how
-- many positions. What a queued trigger makes due is not counted yet.
--
-- Many positions have the same due dates: each set of dates is counted once per calendar.
WITH due AS (
    SELECT f.calendar_id, count(*) AS positions,
           p.pending + p.open_dates * datemultirange(daterange(
               p.frontier_date, h.horizon,
               CASE WHEN p.frontier_date IS NULL THEN '[]' ELSE '(]' END)) AS dates
    FROM position_state p
    JOIN portfolios f USING (portfolio_id)
    JOIN calendar_horizons h USING (calendar_id)
    WHERE (NOT isempty(p.pending) OR p.frontier_date IS NULL OR p.frontier_date < h.horizon)
      AND NOT EXISTS (
          SELECT FROM dead_letters d
          JOIN portfolio_valuation_jobs w USING (job_id)
          WHERE NOT isempty(p.pending) AND d.position_id = p.position_id AND w.epochs[1] = p.epoch
            AND w.status = 'FAILED' AND w.valued_through IS NULL)
    GROUP BY 1, 3
), counted AS (
    SELECT d.positions,
           (SELECT count(*) FROM business_dates b
            WHERE b.calendar_id = d.calendar_id AND d.dates @> b.business_date) AS days
    FROM due d
)
SELECT COALESCE(sum(positions * days), 0)::bigint AS days,
       COALESCE(sum(positions) FILTER (WHERE days > 0), 0)::bigint AS positions
FROM counted
