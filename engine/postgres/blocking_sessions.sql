-- The database sessions that hold locks for which the sessions :waiting wait, and of which table.
--
-- Those of the engine's own schedulers and valuers are left out: they end by themselves. began is
-- NULL where this user may not see it; the virtual transaction id is visible to all. A session that
-- waits for a row holds the lock of its tuple. A process of the server itself, such as autovacuum,
-- has no user.
SELECT DISTINCT w.pid AS waiting, b.pid, b.usename::text AS user_name,
       CASE WHEN b.usename IS NULL THEN COALESCE(b.backend_type, '')
            ELSE b.application_name END AS application_name,
       b.xact_start AS began,
       (SELECT min(l.virtualtransaction) FROM pg_locks l
        WHERE l.pid = b.pid AND l.locktype = 'virtualxid') AS transaction,
       (SELECT min(l.relation::regclass::text) FROM pg_locks l
        WHERE l.pid = w.pid AND l.relation IS NOT NULL
          AND (l.locktype = 'tuple' OR NOT l.granted)) AS table_name
FROM unnest(:waiting::integer[]) AS w (pid)
CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS holds (pid)
JOIN pg_stat_activity b ON b.pid = holds.pid
WHERE b.pid <> ALL (:waiting::integer[])
  AND b.application_name NOT LIKE 'revalue scheduler %'
  AND b.application_name NOT LIKE 'revalue valuer %'
ORDER BY waiting, began, b.pid
