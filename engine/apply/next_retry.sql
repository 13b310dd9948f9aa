-- Seconds until the next deferred job is due (negative: overdue), or NULL when none is deferred.
SELECT extract(epoch FROM min(not_before) - clock_timestamp())::double precision FROM deferred_jobs
