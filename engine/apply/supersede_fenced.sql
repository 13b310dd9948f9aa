-- Mark the unfinished jobs of finished attempts SUPERSEDED where their position has a newer epoch.
-- So are jobs whose holes the position does not have: they were found under the older epoch.
UPDATE portfolio_valuation_jobs j
SET status = 'SUPERSEDED', finished_at = COALESCE(j.finished_at, now())
FROM unnest(:tasks::bigint[], :first_jobs::bigint[], :last_jobs::bigint[])
         AS t (task_id, first_job, last_job),
     position_state p
WHERE j.job_id BETWEEN t.first_job AND t.last_job AND j.task_id = t.task_id
  AND p.position_id = j.position_id AND p.epoch > j.epoch
  AND (j.status IN ('PROCESSING', 'PENDING')
       OR (j.status IN ('WAITING_FOR_DATA', 'FAILED') AND j.valued_through IS NOT NULL
           AND NOT EXISTS (SELECT FROM current_holes c WHERE c.job_id = j.job_id)))
