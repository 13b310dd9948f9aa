-- Deferred jobs whose time has come, packed into new tasks by the days of their ranges; each attempt has a new task id.
-- Looking again at a job that waits for data is no failure, so it is not counted as an attempt.
WITH due AS (
    DELETE FROM deferred_jobs
    WHERE job_id IN (SELECT job_id FROM deferred_jobs WHERE not_before <= clock_timestamp() ORDER BY job_id LIMIT :most)
    RETURNING job_id
), sized AS (
    SELECT j.job_id, sum(j.last_date - j.first_date + 1) OVER (ORDER BY j.job_id) - 1 AS days
    FROM due JOIN portfolio_valuation_jobs j USING (job_id)
    WHERE j.status IN ('PENDING', 'WAITING_FOR_DATA')
), numbered AS (
    SELECT task_no, nextval('valuation_task_ids') AS task_id
    FROM (SELECT DISTINCT days / :task_days AS task_no FROM sized) t
), begun AS (
    UPDATE portfolio_valuation_jobs j
    SET status = 'PROCESSING', task_id = n.task_id, term = :term, finished_at = NULL,
        attempt_count = j.attempt_count + CASE j.status WHEN 'PENDING' THEN 1 ELSE 0 END
    FROM sized s JOIN numbered n ON n.task_no = s.days / :task_days
    WHERE j.job_id = s.job_id
    RETURNING j.job_id, j.task_id, j.lane, (j.last_date - j.first_date) * 5 / 7 + 1 AS rows
)
SELECT task_id, min(job_id) AS first_job_id, max(job_id) AS last_job_id, sum(rows)::bigint AS rows,
       min(lane)::text AS lane, count(*) AS jobs
FROM begun
GROUP BY task_id
ORDER BY task_id
