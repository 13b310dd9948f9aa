-- Record the lake of this database, and that it is its own; of two at once the first one stays.
INSERT INTO lake (address, lake_id, owner)
SELECT :address, :lake_id::text::uuid, c.system_identifier || '/' || d.oid
FROM pg_control_system() c, pg_database d
WHERE d.datname = current_database()
ON CONFLICT (singleton) DO NOTHING
