-- Manual retry. A job that was not valued is requeued now, and its attempt count reset. The holes
-- of a job that is done are due again, under a new epoch, as if data had arrived for them. Only
-- jobs of the current epoch of their position, or with holes that are still there. Returns the
-- jobs.
WITH freed AS (
    UPDATE portfolio_valuation_jobs j
    SET status = 'PENDING', attempt_count = 0, deaths = 0, task_id = 0, finished_at = NULL,
        is_open = true
    WHERE j.job_id = ANY (:jobs::bigint[])
      AND j.status IN ('FAILED', 'PENDING') AND j.valued_through IS NULL
      AND EXISTS (SELECT FROM unnest(j.positions, j.epochs) AS u (position_id, epoch)
                  JOIN position_state p USING (position_id, epoch))
    RETURNING j.job_id
), due AS (
    INSERT INTO deferred_jobs (job_id, not_before)
    SELECT job_id, clock_timestamp() FROM freed
    ON CONFLICT (job_id) DO UPDATE SET not_before = excluded.not_before
), again AS (
    SELECT position_id, range_agg(dates) AS dates, array_agg(DISTINCT job_id) AS jobs
    FROM current_holes
    WHERE job_id = ANY (:jobs::bigint[])
    GROUP BY position_id
), recorded AS (
    INSERT INTO reprocessing_triggers
        (kind, dates, fanned_out_at, fanned_out_moment, positions_invalidated)
    SELECT 'POSITION', range_agg(dates), clock_timestamp(), (SELECT current_moment()), count(*)
    FROM again
    HAVING count(*) > 0
    RETURNING trigger_id, moment_id
), invalidated AS (
    UPDATE position_state p
    SET epoch = p.epoch + 1,
        revision = p.revision + 1,
        trigger_id = t.trigger_id,
        stale_moment = CASE WHEN p.published_epoch = p.epoch THEN t.moment_id
                            ELSE p.stale_moment END,
        invalidated_moment = CASE WHEN p.published_epoch = p.epoch THEN t.moment_id
                                  ELSE p.invalidated_moment END,
        pending = p.pending + a.dates,
        holes = trimmed_holes(p.calendar_no, p.holes - a.dates)
    FROM again a, recorded t
    WHERE p.position_id = a.position_id AND p.holes @> a.dates
    RETURNING p.position_id, a.jobs
), noted AS (
    INSERT INTO unstaged_positions (first_position_id, last_position_id)
    SELECT lower(ids), upper(ids) - 1
    FROM (SELECT unnest(range_agg(int8range(position_id, position_id, '[]'))) AS ids
          FROM invalidated) runs
), ended AS (
    UPDATE portfolio_valuation_jobs j SET status = 'SUPERSEDED', is_open = false
    FROM invalidated i
    WHERE j.job_id = ANY (i.jobs)
    RETURNING j.job_id
), requeued AS (
    UPDATE dead_letters d SET requeued_at = now()
    FROM (SELECT job_id FROM freed UNION ALL SELECT job_id FROM ended) retried
    WHERE d.job_id = retried.job_id AND d.requeued_at IS NULL
)
SELECT job_id FROM freed UNION ALL SELECT job_id FROM ended ORDER BY job_id
