-- Tell that the leader of this term is alive, and return what operators have asked of it, and the
-- revision of the schema. No row: another term has begun.
--
-- One statement, which is a transaction of its own: an idle scheduler sends little else.
UPDATE scheduler_term SET heartbeat_at = clock_timestamp()
WHERE term = :term AND holder = :holder
RETURNING paused_at IS NOT NULL AS paused, COALESCE(drain_term = term, false) AS drain,
          (SELECT version_num FROM alembic_version) AS revision
