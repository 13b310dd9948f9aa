-- Pack up to :max_jobs deferred jobs that are due into at most as many tasks as there are
-- :new_tasks, by the days of their spans, and begin their next attempt. Returns the tasks. The
-- other jobs stay deferred.
--
-- A task has one lane. A job whose process died shares a task with fewer other jobs each time, and
-- after :alone_after deaths with none.
WITH due AS (
    SELECT d.job_id, j.lane,
           CASE WHEN j.deaths >= :alone_after::integer THEN 1
                ELSE greatest(1, :task_days::bigint
                                 / power(16, greatest(j.deaths - 1, 0))::bigint) END AS share,
           (j.last_date - j.first_date + 1) * j.span_count::bigint AS days
    FROM deferred_jobs d
    JOIN portfolio_valuation_jobs j USING (job_id)
    WHERE d.not_before <= clock_timestamp()
    ORDER BY d.job_id
    LIMIT :max_jobs
), sized AS (
    SELECT job_id, lane, share,
           (sum(days) OVER (PARTITION BY lane, share ORDER BY job_id) - days)::bigint / share
               AS part
    FROM due
), packed AS (
    SELECT job_id, dense_rank() OVER (ORDER BY lane, share, part) AS task_no FROM sized
), taken AS (
    DELETE FROM deferred_jobs d
    USING packed p
    WHERE d.job_id = p.job_id AND p.task_no <= cardinality(:new_tasks::bigint[])
    RETURNING d.job_id, p.task_no
), begun AS (
    UPDATE portfolio_valuation_jobs j
    SET status = 'PROCESSING', task_id = (:new_tasks::bigint[])[t.task_no], term = :term,
        attempt_count = j.attempt_count + 1
    FROM taken t
    WHERE j.job_id = t.job_id AND j.status = 'PENDING'
    RETURNING j.position_range, j.task_id, j.lane, j.span_count AS spans,
              ((j.last_date - j.first_date) * 5 / 7 + 1) * j.span_count::bigint AS rows
)
SELECT task_id, min(lower(position_range)) AS first_position_id,
       max(upper(position_range) - 1) AS last_position_id, sum(spans)::bigint AS spans,
       sum(rows)::bigint AS rows, min(lane)::text AS lane
FROM begun
GROUP BY task_id
ORDER BY task_id
