-- The lake of this database: no row if it has none. is_own: whether this database made it, and is
-- not a copy of the one that did.
SELECT l.address, l.lake_id::text AS lake_id, l.owner = o.owner AS is_own
FROM lake l
CROSS JOIN (
    SELECT c.system_identifier || '/' || d.oid AS owner
    FROM pg_control_system() c, pg_database d
    WHERE d.datname = current_database()
) o
