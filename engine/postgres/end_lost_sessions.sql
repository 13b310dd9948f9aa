-- Of this process's database sessions :pids (begun at :began, in parallel), those that cannot
-- answer it: they have ended, or wait for it since :seconds. Those that wait are ended.
--
-- It is asked about sessions for whose answer the process waits: the question or the answer was
-- lost on the way. A session that has ended here may live on a server to which the address led
-- before. One that is at work is not returned, however long it takes.
SELECT s.pid, pg_terminate_backend(a.pid)
FROM unnest(:pids::integer[], :began::timestamptz[]) AS s (pid, began)
LEFT JOIN pg_stat_activity a ON a.pid = s.pid AND a.backend_start = s.began
WHERE a.pid IS NULL
   OR (a.state LIKE 'idle%'
       AND a.state_change < clock_timestamp() - make_interval(secs => :seconds::double precision))
