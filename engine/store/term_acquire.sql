UPDATE scheduler_term
SET term = term + 1, holder = :holder, acquired_at = clock_timestamp(), heartbeat_at = clock_timestamp()
WHERE :take_over::boolean
   OR holder IS NULL
   OR holder = :holder
   OR heartbeat_at < clock_timestamp() - make_interval(secs => :lease_seconds::double precision)
RETURNING term
