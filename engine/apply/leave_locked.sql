-- Lock the positions of which finished attempts have valued something, until the end of the
-- transaction. Returns those that another transaction has locked, with the task: they are left.
WITH valued AS (
    SELECT DISTINCT t.task_id, j.position_id
    FROM unnest(:tasks::bigint[], :first_jobs::bigint[], :last_jobs::bigint[])
             AS t (task_id, first_job, last_job)
    JOIN portfolio_valuation_jobs j
      ON j.job_id BETWEEN t.first_job AND t.last_job AND j.task_id = t.task_id
    JOIN position_state p ON p.position_id = j.position_id AND p.epoch = j.epoch
    WHERE j.valued_through IS NOT NULL
), free AS (
    SELECT position_id
    FROM position_state
    WHERE position_id IN (SELECT position_id FROM valued)
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT task_id, position_id
FROM valued
WHERE position_id NOT IN (SELECT position_id FROM free)
