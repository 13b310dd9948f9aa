-- Take the lock of maintenance until this transaction ends; false: another one has it.
SELECT pg_try_advisory_xact_lock(hashtext('revalue lake maintain'))
