-- Who leads: the newest term, its holder (NULL: nobody) and the seconds since its last heartbeat.
SELECT term, holder, heartbeat_at,
       COALESCE(extract(epoch FROM clock_timestamp() - heartbeat_at), 0)::float8 AS silent_seconds
FROM scheduler_term
