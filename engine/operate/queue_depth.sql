-- What the scheduler could start now: queued triggers, deferred jobs that are due, and jobs that
-- will be retried.
--
-- Apart from status_work, because every step of the loop asks it: it counts no dead letters.
SELECT (SELECT count(*) FROM reprocessing_triggers WHERE fanned_out_at IS NULL) AS triggers,
       (SELECT count(*) FROM deferred_jobs WHERE not_before <= clock_timestamp()) AS due,
       (SELECT count(*) FROM deferred_jobs JOIN portfolio_valuation_jobs USING (job_id)
        WHERE status = 'PENDING') AS retries
