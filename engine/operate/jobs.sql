-- The newest jobs that fit the filters, the newest first. A filter that is NULL does not apply.
SELECT j.job_id, p.portfolio_id, p.security_id, j.status::text, j.lane::text, j.epoch,
       j.first_date, j.last_date, j.valued_through, j.attempt_count, j.rows_written,
       j.failure_reason, j.trigger_id, j.term, j.task_id, j.created_at, j.finished_at
FROM portfolio_valuation_jobs j
JOIN position_state p USING (position_id)
WHERE (:status::text IS NULL OR j.status::text = :status)
  AND (:portfolio::text IS NULL OR p.portfolio_id = :portfolio)
  AND (:portfolios::text[] IS NULL OR p.portfolio_id = ANY (:portfolios))
  AND (:security::text IS NULL OR p.security_id = :security)
  AND (:job::bigint IS NULL OR j.job_id = :job)
  AND (:before::bigint IS NULL OR j.job_id < :before)
ORDER BY j.job_id DESC
LIMIT :limit
