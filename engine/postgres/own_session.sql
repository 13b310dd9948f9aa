-- The server's process of this database session, and when it began.
SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()
