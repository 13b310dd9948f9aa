SELECT (SELECT count(*) FROM reprocessing_triggers WHERE fanned_out_at IS NULL) AS triggers,
       (SELECT count(*) FROM deferred_jobs WHERE not_before <= clock_timestamp()) AS due,
       (SELECT count(*) FROM deferred_jobs JOIN portfolio_valuation_jobs USING (job_id) WHERE status = 'PENDING') AS retries
