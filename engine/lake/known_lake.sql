-- The lake of this database: no row if it has none. is_own: whether this database owns it, and is
-- not a copy of the one that does.
SELECT l.address, l.lake_id::text AS lake_id,
       l.owner = c.system_identifier || '/' || d.oid AS is_own
FROM lake l, pg_control_system() c, pg_database d
WHERE d.datname = current_database()
