-- The spans of a position in an attempt that fails; no row when they no longer belong to it.
SELECT s.job_id, s.position_id, s.first_date, s.attempt_count, s.span_count, p.security_id
FROM job_spans s
JOIN position_state p USING (position_id)
WHERE s.task_id = :task AND s.status = 'PROCESSING' AND s.position_id = :position
ORDER BY s.job_id, s.first_date
