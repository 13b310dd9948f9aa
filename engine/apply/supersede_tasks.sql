-- Mark the jobs of finished attempts SUPERSEDED if all of their spans are of older epochs than
-- their positions have: the unfinished ones, and those whose holes the position does not have,
-- because they were found under the older epoch. :tasks: of these attempts; NULL: of all that are
-- open.
WITH candidates AS (
    SELECT j.job_id, j.status
    FROM portfolio_valuation_jobs j
    WHERE j.is_open
      AND CASE WHEN :tasks::bigint[] IS NULL THEN j.status <> 'PROCESSING'
               ELSE j.task_id = ANY (:tasks::bigint[]) END
      AND (j.status IN ('PROCESSING', 'PENDING')
           OR (j.status IN ('WAITING_FOR_DATA', 'FAILED') AND j.valued_through IS NOT NULL
               AND NOT EXISTS (SELECT FROM current_holes c WHERE c.job_id = j.job_id)))
), ended AS (
    UPDATE portfolio_valuation_jobs j
    SET status = 'SUPERSEDED', finished_at = COALESCE(j.finished_at, now()), is_open = false
    FROM (
        SELECT c.job_id
        FROM candidates c
        JOIN job_spans s USING (job_id)
        JOIN position_state p USING (position_id)
        GROUP BY c.job_id
        HAVING bool_and(p.epoch > s.epoch)
    ) old
    WHERE j.job_id = old.job_id
    RETURNING j.job_id
)
DELETE FROM deferred_jobs d USING ended e WHERE d.job_id = e.job_id
