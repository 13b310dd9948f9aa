-- The holder that a new leader may succeed at once: silent for longer than its lease, deposed by
-- :take_over, or an earlier process of the same name. Reads without a lock, because the holder may
-- hold one.
SELECT holder
FROM scheduler_term
WHERE holder IS NOT NULL
  AND (:take_over::boolean
       OR holder = :holder
       OR heartbeat_at < clock_timestamp()
                         - make_interval(secs => :lease_seconds::double precision))
