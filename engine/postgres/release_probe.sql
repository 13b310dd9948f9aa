-- Release the lock if this database session holds it; returns whether it did.
SELECT pg_advisory_unlock(:lock::bigint)
