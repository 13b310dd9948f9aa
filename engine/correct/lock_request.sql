-- Take the place of a request until the transaction ends; false: another one with the same key of
-- the same client is at work. A lock and not a row, so that nobody waits and nothing stays of it.
SELECT pg_try_advisory_xact_lock(
    hashtextextended(:who || E'\n' || :request_key, 5710883021426013))
