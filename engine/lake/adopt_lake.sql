-- Record that the lake is this database's own.
UPDATE lake
SET owner = (SELECT c.system_identifier || '/' || d.oid
             FROM pg_control_system() c, pg_database d
             WHERE d.datname = current_database())
