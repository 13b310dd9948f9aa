-- End a pause; returns since when it held, NULL when there was none.
UPDATE scheduler_term t
SET paused_at = NULL, paused_by = NULL
FROM (SELECT singleton, paused_at FROM scheduler_term FOR UPDATE) AS was
WHERE t.singleton = was.singleton
RETURNING was.paused_at
