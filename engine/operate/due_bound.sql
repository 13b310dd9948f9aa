-- An upper bound of the number of due position-days; if it is :enough or more, :enough.
--
-- Asked before each run, so it has to be cheap: it stops at :enough positions, and looks for
-- corrections only if fewer positions are due without them. Each due position counts at least once,
-- so that :enough of them suffice. Days that two corrections affect count twice. Of a correction
-- only scheduled dates count here: dates that are opened after them are due without it.
-- Dates of jobs that failed for good are not due: see due_work.sql.
WITH due_now AS MATERIALIZED (
    SELECT p.calendar_no,
           p.pending + p.open_dates * datemultirange(daterange(
               p.frontier_date, h.horizon,
               CASE WHEN p.frontier_date IS NULL THEN '[]' ELSE '(]' END)) AS dates
    FROM position_state p
    JOIN (SELECT calendar_no, horizon FROM calendar_horizons JOIN calendars USING (calendar_id)) h
        USING (calendar_no)
    WHERE (NOT isempty(p.pending) OR p.frontier_date IS NULL OR p.frontier_date < h.horizon)
      AND NOT EXISTS (
          SELECT FROM dead_letters d
          JOIN portfolio_valuation_jobs w USING (job_id)
          WHERE NOT isempty(p.pending) AND d.position_id = p.position_id AND w.epochs[1] = p.epoch
            AND w.status = 'FAILED' AND w.valued_through IS NULL)
    LIMIT :enough
), reached AS MATERIALIZED (
    SELECT p.calendar_no,
           r.dates * p.open_dates
           * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]')) AS dates
    FROM trigger_reach r
    JOIN position_state p USING (position_id)
    WHERE (SELECT count(*) FROM due_now) < :enough
      AND r.fanned_out_at IS NULL
      AND COALESCE(lower(r.dates), '-infinity') <= (SELECT max(opened_through) FROM calendars)
      AND NOT isempty(
          r.dates * p.open_dates
          * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]')))
    LIMIT :enough
), alike AS (
    SELECT calendar_no, dates, count(*) AS positions
    FROM (SELECT * FROM due_now UNION ALL SELECT * FROM reached) due
    WHERE NOT isempty(dates)
    GROUP BY calendar_no, dates
), counted AS (
    SELECT a.positions,
           (SELECT count(*)
            FROM calendars c
            JOIN business_dates b USING (calendar_id)
            WHERE c.calendar_no = a.calendar_no AND a.dates @> b.business_date
              AND b.business_date BETWEEN lower(a.dates) AND upper(a.dates)) AS days
    FROM alike a
)
SELECT LEAST(:enough, GREATEST(COALESCE(sum(positions * days), 0),
                               COALESCE(sum(positions) FILTER (WHERE days > 0), 0)))::bigint
FROM counted
