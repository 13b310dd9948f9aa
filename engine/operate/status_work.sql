-- What is queued, deferred and failed for good, and the scheduler's term, for a status report.
--
-- Dead letters are counted by job, and only while the job's dates are still due: not requeued, not
-- superseded by a later epoch.
SELECT (SELECT count(*) FROM reprocessing_triggers WHERE fanned_out_at IS NULL) AS triggers_queued,
       (SELECT count(*) FROM deferred_jobs) AS jobs_deferred,
       (SELECT count(DISTINCT job_id)
        FROM dead_letters d
        JOIN portfolio_valuation_jobs j USING (job_id)
        WHERE j.status = 'FAILED') AS dead_letters,
       (SELECT COALESCE(sum(jobs_abandoned), 0) FROM fenced_attempts) AS zombie_jobs_fenced,
       t.paused_at, t.paused_by, t.term, t.holder,
       extract(epoch FROM clock_timestamp() - t.heartbeat_at)::double precision
           AS heartbeat_age_seconds
FROM scheduler_term t
