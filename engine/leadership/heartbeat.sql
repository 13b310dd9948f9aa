-- Tell that the leader of this term is alive. No row: another term has begun.
UPDATE scheduler_term SET heartbeat_at = clock_timestamp()
WHERE term = :term AND holder = :holder
