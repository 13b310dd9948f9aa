-- End a pause; returns since when it held, NULL when there was none.
--
-- FOR NO KEY UPDATE, as UPDATE itself: it does not wait for the scheduler's open transactions
-- (lock_term), which can be long.
UPDATE scheduler_term t
SET paused_at = NULL, paused_by = NULL
FROM (SELECT singleton, paused_at FROM scheduler_term FOR NO KEY UPDATE) AS was
WHERE t.singleton = was.singleton
RETURNING was.paused_at
