-- The database sessions that are open on a book. Processes of the server itself, such as
-- autovacuum, end by themselves when it is dropped.
SELECT pid, application_name AS application, backend_start AS began
FROM pg_stat_activity
WHERE datname = :book::text AND backend_type = 'client backend'
ORDER BY backend_start, pid
