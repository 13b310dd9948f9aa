UPDATE scheduler_term SET heartbeat_at = clock_timestamp() WHERE term = :term
