-- Those of the given transactions (of the sessions :pids, in parallel) that are still open.
SELECT t.pid
FROM unnest(:pids::integer[], :transactions::text[]) AS t (pid, transaction)
WHERE EXISTS (
    SELECT FROM pg_locks l
    WHERE l.pid = t.pid AND l.locktype = 'virtualxid' AND l.virtualtransaction = t.transaction)
