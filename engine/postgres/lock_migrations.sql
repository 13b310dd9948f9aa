-- Two commands that migrate the same database at once take turns. An arbitrary number that nothing
-- else locks.
SELECT pg_advisory_lock(7263548201)
