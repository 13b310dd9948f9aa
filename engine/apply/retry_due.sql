-- Pack up to :max_jobs deferred jobs that are due into at most :capacity new tasks, by the days of
-- their ranges, and begin their next attempt. Returns the tasks. The other jobs stay deferred.
--
-- A task has one lane and a new id. Its jobs lie close together, because statements read the id
-- range from its first to its last job. A job whose process died shares a task with fewer other
-- jobs each time, and after :alone_after deaths with none.
WITH due AS (
    SELECT d.job_id, j.lane,
           CASE WHEN j.deaths >= :alone_after::integer THEN 1
                ELSE greatest(1, :task_days::bigint
                                 / power(16, greatest(j.deaths - 1, 0))::bigint) END AS share,
           j.last_date - j.first_date + 1 AS days,
           (d.job_id - lag(d.job_id) OVER (PARTITION BY j.lane ORDER BY d.job_id) > 10000)::integer
               AS is_far
    FROM deferred_jobs d
    JOIN portfolio_valuation_jobs j USING (job_id)
    WHERE d.not_before <= clock_timestamp()
    ORDER BY d.job_id
    LIMIT :max_jobs
), runs AS (
    SELECT job_id, lane, share, days,
           COALESCE(sum(is_far) OVER (PARTITION BY lane ORDER BY job_id), 0) AS run
    FROM due
), sized AS (
    SELECT job_id, lane, share, run,
           (sum(days) OVER (PARTITION BY lane, run, share ORDER BY job_id) - days) / share AS part
    FROM runs
), packed AS (
    SELECT job_id, dense_rank() OVER (ORDER BY lane, run, share, part) AS task_no FROM sized
), taken AS (
    DELETE FROM deferred_jobs d
    USING packed p
    WHERE d.job_id = p.job_id AND p.task_no <= :capacity
    RETURNING d.job_id, p.task_no
), begun AS (
    UPDATE portfolio_valuation_jobs j
    SET status = 'PROCESSING', task_id = :first_task + t.task_no - 1, term = :term,
        attempt_count = j.attempt_count + 1
    FROM taken t
    WHERE j.job_id = t.job_id AND j.status = 'PENDING'
    RETURNING j.job_id, j.position_id, j.task_id, j.lane,
              (j.last_date - j.first_date) * 5 / 7 + 1 AS rows
)
SELECT task_id, min(job_id) AS first_job_id, max(job_id) AS last_job_id,
       min(position_id) AS first_position_id, max(position_id) AS last_position_id,
       sum(rows)::bigint AS rows, min(lane)::text AS lane
FROM begun
GROUP BY task_id
ORDER BY task_id
