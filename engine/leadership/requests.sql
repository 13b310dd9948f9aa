-- What operators have asked of the scheduler of this term, and the revision of the schema; no row
-- when the term is over.
SELECT paused_at IS NOT NULL AS paused, COALESCE(drain_term = term, false) AS drain,
       (SELECT version_num FROM alembic_version) AS revision
FROM scheduler_term
WHERE term = :term AND holder = :holder
