-- The max_wal_size of the server in megabytes, and whether ALTER SYSTEM has set it.
SELECT setting::bigint AS megabytes,
       COALESCE(sourcefile LIKE '%postgresql.auto.conf', false) AS is_altered
FROM pg_settings
WHERE name = 'max_wal_size'
