-- The books of the server: its databases, but those that new ones are made of.
SELECT d.datname::text AS name, pg_database_size(d.oid) AS bytes,
       (SELECT count(*) FROM pg_stat_activity s
        WHERE s.datid = d.oid AND s.backend_type = 'client backend'
          AND s.pid <> pg_backend_pid()) AS sessions
FROM pg_database d
WHERE NOT d.datistemplate AND d.datallowconn
ORDER BY d.datname
