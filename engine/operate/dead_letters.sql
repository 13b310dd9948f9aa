-- The newest dead letters that fit the filters, the newest first. A filter that is NULL does not
-- apply. :still_failed leaves out those whose job was requeued or superseded since. A job that
-- failed has one span.
SELECT d.dead_letter_id, d.job_id, p.portfolio_id, p.security_id, j.epochs[1] AS epoch,
       j.first_date, j.last_date, j.status::text, d.attempt_count, d.failure_reason, d.died_at,
       d.requeued_at
FROM dead_letters d
JOIN portfolio_valuation_jobs j USING (job_id)
JOIN position_state p ON p.position_id = d.position_id
WHERE (NOT :still_failed::boolean
       OR (j.status = 'FAILED' AND d.requeued_at IS NULL))
  AND (:portfolios::text[] IS NULL OR p.portfolio_id = ANY (:portfolios))
  AND (:before::bigint IS NULL OR d.dead_letter_id < :before)
ORDER BY d.dead_letter_id DESC
LIMIT :limit
