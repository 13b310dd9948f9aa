-- Lock the positions on which finished attempts have valued something, until the end of the
-- transaction. Returns those that another transaction has locked, with the task: they are left.
WITH valued AS (
    SELECT DISTINCT s.task_id, s.position_id
    FROM job_spans s
    JOIN position_state p ON p.position_id = s.position_id AND p.epoch = s.epoch
    WHERE s.task_id = ANY (:tasks::bigint[]) AND s.is_open AND s.valued_through IS NOT NULL
), free AS (
    SELECT position_id
    FROM position_state
    WHERE position_id IN (SELECT position_id FROM valued)
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT task_id, position_id
FROM valued
WHERE position_id NOT IN (SELECT position_id FROM free)
