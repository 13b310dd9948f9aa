-- Whether it is this database session that holds the lock of take_probe; no row: none holds it.
SELECT pid = pg_backend_pid() AS is_own
FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1
  AND (classid::bigint << 32) + objid::bigint = :lock::bigint
