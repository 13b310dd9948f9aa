-- FOR UPDATE, which waits for the transactions of the term that ends: they hold FOR KEY SHARE, so that heartbeats and an
-- operator's wishes need not wait for them.
WITH given_up AS (
    SELECT singleton FROM scheduler_term
    WHERE :take_over::boolean
       OR holder IS NULL
       OR holder = :holder
       OR heartbeat_at < clock_timestamp() - make_interval(secs => :lease_seconds::double precision)
    FOR UPDATE
)
UPDATE scheduler_term t
SET term = t.term + 1, holder = :holder, acquired_at = clock_timestamp(), heartbeat_at = clock_timestamp()
FROM given_up g
WHERE t.singleton = g.singleton
RETURNING t.term
