-- Set the parameters :names to :settings for this database session, and tell which one it is: the
-- server's process, and when it began.
--
-- In a statement, and not when connecting: a connection pooler such as PgBouncer refuses to connect
-- with most parameters.
WITH given AS MATERIALIZED (
    SELECT set_config(g.name, g.setting, false)
    FROM unnest(:names::text[], :settings::text[]) AS g (name, setting)
)
SELECT pid, backend_start, (SELECT count(*) FROM given) AS parameters
FROM pg_stat_activity
WHERE pid = pg_backend_pid()
