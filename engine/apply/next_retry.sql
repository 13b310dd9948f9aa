SELECT extract(epoch FROM min(not_before) - clock_timestamp())::double precision FROM deferred_jobs
