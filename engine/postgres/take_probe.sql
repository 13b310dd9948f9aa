-- Take a lock that this database session keeps until it ends or is reset.
SELECT pg_try_advisory_lock(:lock::bigint)
