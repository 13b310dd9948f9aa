-- Jobs that are deferred, that failed for good and that an abandoned attempt could not finish.
--
-- Dead letters are counted by job, and only while the job's dates are still due: not requeued, not
-- superseded by a later epoch.
SELECT (SELECT count(*) FROM deferred_jobs) AS jobs_deferred,
       (SELECT count(DISTINCT job_id)
        FROM dead_letters d
        JOIN portfolio_valuation_jobs j USING (job_id)
        WHERE j.status = 'FAILED') AS dead_letters,
       (SELECT COALESCE(sum(jobs_abandoned), 0) FROM fenced_attempts) AS zombie_jobs_fenced
