-- The name of this database for its lake: no restored dump has the same.
SELECT c.system_identifier || '/' || d.oid
FROM pg_control_system() c, pg_database d
WHERE d.datname = current_database()
