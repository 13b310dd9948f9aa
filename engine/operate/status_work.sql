-- What is queued, deferred and failed for good, and the scheduler's term, for a status report.
--
-- Dead letters are counted by job, and only while the job's dates are still due: not requeued, not
-- superseded by a later epoch. calendars_not_opened: calendars of positions of which no business
-- date is opened, so that nothing is due. heartbeat_age_seconds: after the clock was set back, the
-- heartbeat of a dead leader lies in the future.
SELECT (SELECT count(*) FROM reprocessing_triggers WHERE fanned_out_at IS NULL) AS triggers_queued,
       (SELECT count(*) FROM deferred_jobs) AS jobs_deferred,
       (SELECT count(DISTINCT job_id)
        FROM dead_letters d
        JOIN portfolio_valuation_jobs j USING (job_id)
        WHERE j.status = 'FAILED') AS dead_letters,
       (SELECT COALESCE(sum(jobs_abandoned), 0) FROM fenced_attempts) AS zombie_jobs_fenced,
       ARRAY(SELECT c.calendar_id FROM calendars c
             WHERE c.opened_through IS NULL
               AND EXISTS (SELECT FROM portfolios f JOIN position_state p USING (portfolio_id)
                           WHERE f.calendar_id = c.calendar_id)
             ORDER BY c.calendar_id) AS calendars_not_opened,
       t.paused_at, t.paused_by, t.term, t.holder,
       abs(extract(epoch FROM clock_timestamp() - t.heartbeat_at))::double precision
           AS heartbeat_age_seconds
FROM scheduler_term t
