-- The holder that a new leader does not wait for: silent, deposed, or an earlier process of its own name. Read without a
-- lock, which that may hold.
SELECT holder FROM scheduler_term
WHERE holder IS NOT NULL
  AND (:take_over::boolean OR holder = :holder OR heartbeat_at < clock_timestamp() - make_interval(secs => :lease_seconds::double precision))
