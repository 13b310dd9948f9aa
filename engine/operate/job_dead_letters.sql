-- The dead letters of one job, with their tracebacks, the oldest first.
SELECT dead_letter_id, attempt_count, failure_reason, traceback, died_at, requeued_at
FROM dead_letters
WHERE job_id = :job
ORDER BY dead_letter_id
