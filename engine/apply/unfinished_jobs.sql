-- What finished attempts could not value, of jobs that wait or failed: one row per reason and
-- missing subject.
--
-- first_dates and last_dates are the ranges without a value: the holes of a job, or all of a job
-- that was not valued. Holders of the same security miss the same price, so their gaps are one row.
SELECT status, reason, subject,
       array_agg(first_date ORDER BY job_id, first_date) AS first_dates,
       array_agg(last_date ORDER BY job_id, first_date) AS last_dates,
       array_agg(DISTINCT portfolio_id) AS portfolios,
       array_agg(DISTINCT security_id) AS securities,
       array_agg(DISTINCT epoch) AS epochs,
       array_agg(DISTINCT job_id) AS jobs,
       COALESCE(array_agg(DISTINCT trigger_id) FILTER (WHERE trigger_id IS NOT NULL), '{}')
           AS triggers
FROM (
    SELECT s.status::text, s.job_id, s.epoch, s.trigger_id, p.portfolio_id, p.security_id,
           COALESCE(h.reason, split_part(s.failure_reason, ' ', 1)) AS reason,
           COALESCE(h.subject, split_part(s.failure_reason, ' ', 2)) AS subject,
           COALESCE(h.first_date, s.first_date) AS first_date,
           COALESCE(h.last_date, s.last_date) AS last_date
    FROM job_spans s
    JOIN position_state p USING (position_id)
    LEFT JOIN position_holes h ON h.job_id = s.job_id
    WHERE s.task_id = ANY (:tasks::bigint[]) AND s.status::text = ANY (:statuses::text[])
) found
GROUP BY status, reason, subject
ORDER BY status, reason, subject
