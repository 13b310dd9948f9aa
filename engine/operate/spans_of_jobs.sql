-- The first :limit spans of the jobs that fit the filters, the newest job first, then by position
-- and date, of those at the given places. A filter that is NULL does not apply. is_last: the job
-- has none behind it.
--
-- A span of an unfinished job whose position has a newer epoch is SUPERSEDED, whatever becomes of
-- the other spans. How many rows each span of a job has written is not kept: it is known of a job
-- with a single one. The portfolio and the epoch of a position are looked up span by span, and only
-- where they matter. A scalar subquery, because an EXISTS might be answered by reading all
-- positions first.
SELECT s.job_id, s.position_id, p.portfolio_id, p.security_id,
       CASE WHEN s.status IN ('PENDING', 'PROCESSING') AND p.epoch > s.epoch THEN 'SUPERSEDED'
            ELSE s.status::text END AS status,
       s.lane::text, s.epoch, s.first_date, s.last_date, s.valued_through, s.attempt_count,
       s.rows_written, s.failure_reason, s.trigger_id, s.term, s.task_id, s.created_at,
       s.finished_at, s.is_last
FROM (
    SELECT j.job_id, j.status, j.lane, u.position_id, u.epoch, u.first_date, u.last_date,
           u.trigger_id, CASE WHEN j.valued_through IS NOT NULL
                              THEN LEAST(j.valued_through, u.last_date) END AS valued_through,
           j.attempt_count, CASE WHEN j.span_count = 1 THEN j.rows_written END AS rows_written,
           j.failure_reason, j.term, j.task_id, j.created_at, j.finished_at,
           k.first_place + u.number - 1 = j.span_count AS is_last
    FROM unnest(:jobs::bigint[], :first_places::integer[], :last_places::integer[])
        AS k (job_id, first_place, last_place)
    CROSS JOIN LATERAL (
        -- LIMIT keeps the planner from reading all jobs in their order in place of these.
        SELECT * FROM portfolio_valuation_jobs w WHERE w.job_id = k.job_id LIMIT 1
    ) j
    CROSS JOIN LATERAL unnest(
        j.positions[k.first_place:k.last_place], j.epochs[k.first_place:k.last_place],
        j.first_dates[k.first_place:k.last_place], j.last_dates[k.first_place:k.last_place],
        j.trigger_ids[k.first_place:k.last_place])
        WITH ORDINALITY AS u (position_id, epoch, first_date, last_date, trigger_id, number)
    WHERE (:positions::bigint[] IS NULL OR u.position_id = ANY (:positions))
      AND ((NOT :by_portfolio::boolean
            AND (:status::text IS NULL OR j.status NOT IN ('PENDING', 'PROCESSING')))
           OR (SELECT (:status::text IS NULL OR j.status NOT IN ('PENDING', 'PROCESSING')
                       OR (:status::text = 'SUPERSEDED') = (p.epoch > u.epoch))
                      AND (:portfolio::text IS NULL OR p.portfolio_id = :portfolio)
                      AND (:portfolios::text[] IS NULL OR p.portfolio_id = ANY (:portfolios))
                      AND (:security::text IS NULL OR p.security_id = :security)
               FROM position_state p
               WHERE p.position_id = u.position_id))
    ORDER BY j.job_id DESC, u.position_id, u.first_date
    LIMIT :limit
) s
JOIN position_state p USING (position_id)
ORDER BY s.job_id DESC, s.position_id, s.first_date
