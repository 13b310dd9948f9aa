-- Positions that wait for data, failed or are reprocessing, and since when: since the job was made
-- that waits or failed, else since the correction was committed that the position reprocesses. And
-- the last position that was looked at (until; NULL: there are no more). There is always a row.
--
-- Position by position, up to :last or to the :candidates-th that can be stuck: something of it is
-- pending, unpublished or without a value, or a trigger is queued. Only of these the view is asked,
-- which costs more: for one at a time (LIMIT 1), because the planner would collect the positions of
-- all queued triggers first.
WITH candidates AS MATERIALIZED (
    SELECT p.position_id
    FROM position_state p
    WHERE p.position_id > :after::bigint
      AND (:portfolios::text[] IS NOT NULL OR p.position_id <= :last::bigint)
      AND (:portfolios::text[] IS NULL OR p.portfolio_id = ANY (:portfolios))
      AND (NOT isempty(p.pending) OR NOT isempty(p.holes) OR p.published_epoch < p.epoch
           OR (SELECT EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL)))
    ORDER BY p.position_id
    LIMIT :candidates
), looked_at AS (
    SELECT CASE WHEN count(*) = :candidates THEN max(position_id)
                WHEN :portfolios::text[] IS NULL
                     AND (SELECT max(position_id) FROM position_state) > :last::bigint
                THEN :last::bigint END AS until
    FROM candidates
)
SELECT l.until, found.*
FROM looked_at l
LEFT JOIN LATERAL (
    SELECT s.position_id, s.portfolio_id, s.security_id, s.state, s.reprocessing_status,
           s.watermark_date, s.epoch, s.published_epoch, s.failure_reason,
           lower(s.holes) AS first_hole, upper(s.holes) - 1 AS last_hole,
           COALESCE(j.created_at,
                    CASE WHEN s.reprocessing_status = 'IN_PROGRESS'
                         THEN reprocessing_since(s.position_id, NULL) END) AS since
    FROM candidates c
    CROSS JOIN LATERAL (SELECT * FROM position_status k WHERE k.position_id = c.position_id
                        LIMIT 1) s
    LEFT JOIN portfolio_valuation_jobs j ON j.job_id = s.job_id
    WHERE s.state IN ('REPROCESSING', 'WAITING_FOR_DATA', 'FAILED')
    ORDER BY s.position_id
    LIMIT :limit
) found ON true
ORDER BY found.position_id
