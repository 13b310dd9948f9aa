-- Take the lock of exports to :target for this database session; false: another one has it. The
-- pool releases it when it takes the connection back.
SELECT pg_try_advisory_lock(hashtext('revalue export'), hashtext(:target))
