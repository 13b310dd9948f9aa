-- Prepare a database session for snapshots: its later transactions are read-only, and see one state
-- of the database. Tells which session it is, and whether the server quotes all identifiers.
--
-- max_parallel_workers_per_gather: as many processes read at the same time as there are cores, so
-- parallel workers would compete.
SELECT pid, backend_start, current_setting('quote_all_identifiers')::boolean AS quotes,
       set_config('default_transaction_isolation', 'repeatable read', false) AS isolation,
       set_config('default_transaction_read_only', 'on', false) AS readonly,
       set_config('jit', 'off', false) AS jit,
       set_config('max_parallel_workers_per_gather', '0', false) AS workers,
       set_config('lock_timeout', (:lock_milliseconds::bigint)::text, false) AS lock_timeout
FROM pg_stat_activity
WHERE pid = pg_backend_pid()
