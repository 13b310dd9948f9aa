-- Record the outcomes in finished_jobs, but only of jobs that still belong to this attempt and
-- whose position still has the job's epoch (the fence). Returns the ids of the other jobs.
--
-- CASE hides the predicate from the planner, see jobs.sql.
WITH finished AS (
    UPDATE portfolio_valuation_jobs j
    SET status = f.status::valuation_job_status,
        valued_through = f.valued_through,
        rows_written = COALESCE(j.rows_written, 0) + f.rows_written,
        failure_reason = f.failure_reason,
        moment_id = (SELECT current_moment()),
        finished_at = CASE WHEN f.status <> 'PENDING' THEN now() END
    FROM finished_jobs f, position_state p
    WHERE j.job_id = f.job_id AND j.job_id BETWEEN :first_job AND :last_job
      AND CASE WHEN j.task_id = :task AND j.status = 'PROCESSING' THEN true END
      AND p.position_id = j.position_id AND p.epoch = j.epoch
      AND p.position_id BETWEEN :first_position AND :last_position
    RETURNING j.job_id
)
SELECT COALESCE(array_agg(f.job_id), '{}')
FROM finished_jobs f
WHERE NOT EXISTS (SELECT FROM finished d WHERE d.job_id = f.job_id)
