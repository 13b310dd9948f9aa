-- What tells whether a position can have stopped being current since: the last moment, the
-- revisions of the calendars, and whether a trigger is queued. read_at: the time of this answer.
--
-- Every correction, new position, opening and manual retry changes one of them, in its own
-- transaction. All else leads towards being current. That is seen by last_job, the newest job, and
-- is_at_work: whether jobs are open or deferred, or positions noted that may not be staged.
SELECT clock_timestamp() AS read_at, (SELECT max(at) FROM moments) AS last_moment,
       (SELECT concat_ws(' ', count(*), sum(revision)) FROM calendars) AS calendars,
       EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL) AS is_queued,
       (SELECT max(job_id) FROM portfolio_valuation_jobs) AS last_job,
       EXISTS (SELECT FROM portfolio_valuation_jobs WHERE is_open)
           OR EXISTS (SELECT FROM deferred_jobs)
           OR EXISTS (SELECT FROM unstaged_positions) AS is_at_work
