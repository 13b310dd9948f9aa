-- Whether the time of a deferred job has come.
SELECT EXISTS (SELECT FROM deferred_jobs WHERE not_before <= clock_timestamp())
