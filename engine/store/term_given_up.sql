-- The holder that a new leader does not wait for. Read without a lock, which it may hold.
SELECT holder FROM scheduler_term
WHERE holder IS NOT NULL
  AND (:take_over::boolean OR heartbeat_at < clock_timestamp() - make_interval(secs => :lease_seconds::double precision))
