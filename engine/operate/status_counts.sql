-- Jobs that are deferred, and that failed for good; spans that an abandoned attempt could not
-- finish.
--
-- A job that failed counts while its dates are still due: not once it was requeued, or superseded
-- by a later epoch.
SELECT (SELECT count(*) FROM deferred_jobs) AS jobs_deferred,
       (SELECT count(*) FROM portfolio_valuation_jobs WHERE status = 'FAILED') AS dead_letters,
       (SELECT COALESCE(sum(jobs_abandoned), 0) FROM fenced_attempts) AS zombie_jobs_fenced
