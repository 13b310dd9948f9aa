-- The jobs that finished attempts left waiting or failed: one row per reason and missing subject.
--
-- first_dates and last_dates are the ranges that are not valued. Holders of the same security miss
-- the same price, so their gaps are one row.
SELECT j.status::text, split_part(j.failure_reason, ' ', 1) AS reason,
       split_part(j.failure_reason, ' ', 2) AS subject,
       array_agg(COALESCE(j.valued_through + 1, j.first_date) ORDER BY j.job_id) AS first_dates,
       array_agg(j.last_date ORDER BY j.job_id) AS last_dates,
       array_agg(DISTINCT p.portfolio_id) AS portfolios,
       array_agg(DISTINCT p.security_id) AS securities,
       array_agg(DISTINCT j.epoch) AS epochs,
       array_agg(j.job_id) AS jobs,
       COALESCE(array_agg(DISTINCT j.trigger_id) FILTER (WHERE j.trigger_id IS NOT NULL), '{}')
           AS triggers
FROM unnest(:tasks::bigint[], :first_jobs::bigint[], :last_jobs::bigint[])
    AS t (task_id, first_job, last_job)
JOIN portfolio_valuation_jobs j
  ON j.job_id BETWEEN t.first_job AND t.last_job AND j.task_id = t.task_id
JOIN position_state p USING (position_id)
WHERE j.status::text = ANY (:statuses::text[])
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
