-- Those of the engine's database roles that this server has.
SELECT rolname::text FROM pg_roles
WHERE rolname IN ('revalue_reader', 'revalue_writer', 'revalue_engine')
