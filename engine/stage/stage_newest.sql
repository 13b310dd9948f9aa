-- Stage the newest business days of the positions from :first_position to :last_position, where
-- these are all that is due. Returns the task of each job that it creates, and how many positions
-- have how many days (days).
--
-- What is due of such a position is the same as of all others of its calendar with its frontier, so
-- nothing is read of each one and sent back. The conditions hold for the row that is locked, and
-- the calendars are locked (:calendars), so no revision has to guard it.
-- A position that is not open on all of these days, or whose frontier is not a business day, is
-- left for the scan.
WITH opened AS MATERIALIZED (
    SELECT c.calendar_no, b.business_date,
           row_number() OVER (PARTITION BY c.calendar_no ORDER BY b.business_date DESC) AS place
    FROM calendars c
    JOIN business_dates b USING (calendar_id)
    WHERE b.business_date <= c.opened_through AND c.calendar_no = ANY (:calendars::smallint[])
), gaps AS MATERIALIZED (
    SELECT f.calendar_no, f.business_date AS frontier_date, d.business_date AS first_date,
           h.business_date AS horizon, d.place AS days,
           daterange(d.business_date, h.business_date, '[]') AS due,
           datemultirange(daterange(d.business_date, h.business_date, '[]')) AS dates
    FROM opened f
    JOIN opened d ON d.calendar_no = f.calendar_no AND d.place = f.place - 1
    JOIN opened h ON h.calendar_no = f.calendar_no AND h.place = 1
    JOIN opened floor ON floor.calendar_no = f.calendar_no
        AND floor.place = :business_days::integer + 1
    WHERE f.place <= :business_days::integer + 1
), moved AS (
    UPDATE position_state p
    SET pending = p.pending + g.dates,
        frontier_date = g.horizon,
        revision = p.revision + 1
    FROM gaps g
    WHERE p.position_id BETWEEN :first_position AND :last_position
      AND g.calendar_no = p.calendar_no AND g.frontier_date = p.frontier_date
      AND p.staged_epoch = p.epoch AND p.open_dates @> g.due
    RETURNING p.position_id, p.epoch, g.first_date, g.horizon, g.days
), numbered AS (
    SELECT *, (sum(days) OVER (ORDER BY position_id) - days)::bigint / :task_rows::bigint AS job_no
    FROM moved
), jobs AS MATERIALIZED (
    SELECT nextval('valuation_job_ids') AS job_id, nextval('valuation_task_ids') AS task_id,
           array_agg(position_id ORDER BY position_id) AS positions,
           array_agg(epoch ORDER BY position_id) AS epochs,
           array_agg(first_date ORDER BY position_id) AS first_dates,
           array_agg(horizon ORDER BY position_id) AS last_dates,
           array_agg(NULL::bigint) AS trigger_ids,
           min(first_date) AS first_date, max(horizon) AS last_date, sum(days)::bigint AS rows
    FROM numbered
    GROUP BY job_no
), created AS (
    INSERT INTO portfolio_valuation_jobs
        (job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date, last_date,
         attempt_count, lane, status, term, task_id)
    SELECT job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date, last_date,
           1, 'LIVE', 'PROCESSING', :term, task_id
    FROM jobs
)
SELECT task_id, positions[1] AS first_position_id,
       positions[cardinality(positions)] AS last_position_id, cardinality(positions) AS spans, rows,
       (SELECT array_agg(ARRAY[days, positions])
        FROM (SELECT days, count(*) AS positions FROM moved GROUP BY days) counted) AS days
FROM jobs
ORDER BY first_position_id
