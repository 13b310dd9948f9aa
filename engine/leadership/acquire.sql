-- Begin a new term for :holder if the present leader can be succeeded: there is none, it is :holder
-- itself, it is the one of :dead_term, whose heartbeat is still :dead_heartbeat, or :take_over is
-- true. Returns the new term's number, or no row.
--
-- A drain was asked of a holder: its next term is drained too, if one begins before the other ends.
--
-- FOR UPDATE waits for the transactions of the term that ends, which hold FOR KEY SHARE
-- (lock_term). Heartbeats and operators' requests do not wait for those.
WITH succeeded AS (
    SELECT singleton FROM scheduler_term
    WHERE :take_over::boolean
       OR holder IS NULL
       OR holder = :holder
       OR (term = :dead_term::bigint AND heartbeat_at = :dead_heartbeat::timestamptz)
    FOR UPDATE
)
UPDATE scheduler_term t
SET term = t.term + 1, holder = :holder, acquired_at = clock_timestamp(),
    heartbeat_at = clock_timestamp(),
    drain_term = CASE WHEN t.holder = :holder AND t.drain_term = t.term THEN t.term + 1
                      ELSE t.drain_term END
FROM succeeded s
WHERE t.singleton = s.singleton
RETURNING t.term
