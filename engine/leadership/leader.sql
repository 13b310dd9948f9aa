-- Who leads: the newest term, its holder (NULL: nobody), its last heartbeat, and by how many
-- seconds the clock differs from that. If the clock was set back, the heartbeat of a dead leader
-- lies after it; a live one replaces it.
SELECT term, holder, heartbeat_at,
       COALESCE(abs(extract(epoch FROM clock_timestamp() - heartbeat_at)), 0)::float8
           AS silent_seconds
FROM scheduler_term
