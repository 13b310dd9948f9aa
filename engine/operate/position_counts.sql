-- All positions counted in one pass over them: by state, by reason, by lag, by portfolio (the
-- :limit with the most positions that are not current), and by the correction that they do not
-- publish yet. One row per group; what says which of the groupings it belongs to.
--
-- The state is judged as in the view position_status, but what few positions have is collected
-- first and joined: the view looks it up position by position. The pass makes groups of positions
-- that are alike, and leaves those apart of which something is due or missing. What follows reads
-- the groups.
WITH queued AS MATERIALIZED (
    SELECT DISTINCT position_id
    FROM queued_positions
    WHERE (SELECT EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL))
), failed AS MATERIALIZED (
    SELECT DISTINCT ON (d.position_id) d.position_id, j.failure_reason
    FROM (SELECT DISTINCT position_id, job_id FROM dead_letters) d
    CROSS JOIN LATERAL (
        -- LIMIT keeps the planner from reading all jobs in place of these.
        SELECT w.failure_reason, w.first_date
        FROM portfolio_valuation_jobs w
        JOIN position_state p ON p.position_id = d.position_id AND p.epoch = w.epochs[1]
        WHERE w.job_id = d.job_id AND w.status = 'FAILED' AND w.valued_through IS NULL
          AND NOT isempty(p.pending)
        LIMIT 1
    ) j
    ORDER BY d.position_id, j.first_date
), lacking AS MATERIALIZED (
    SELECT DISTINCT ON (position_id) position_id, reason, job_id,
           reason || ' ' || subject || ' ' || first_date AS failure_reason
    FROM current_holes
    ORDER BY position_id, reason <> 'OVERFLOW', first_date
), alike AS MATERIALIZED (
    SELECT p.portfolio_id, p.frontier_date, p.published_epoch < p.epoch AS is_unpublished,
           CASE WHEN p.published_epoch < p.epoch THEN p.trigger_id END AS trigger_id,
           (SELECT EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL))
               AND p.position_id IN (SELECT position_id FROM queued) AS is_queued,
           CASE WHEN NOT isempty(p.pending) OR NOT isempty(p.holes) OR p.frontier_date IS NULL
                THEN p.position_id END AS apart,
           count(*) AS positions, min(p.position_id) AS position_id,
           min(p.watermark_date) AS watermark_date, min(lower(p.open_dates)) AS opens,
           min(lower(p.holes)) AS first_hole, max(upper(p.holes) - 1) AS last_hole,
           bool_and(isempty(p.pending)) AS is_done, bool_and(isempty(p.holes)) AS is_whole
    FROM position_state p
    GROUP BY 1, 2, 3, 4, 5, 6
), judged AS MATERIALIZED (
    SELECT a.*, f.base_currency, h.horizon, l.job_id,
           a.is_unpublished OR a.is_queued AS is_in_progress,
           h.horizon - COALESCE(a.watermark_date, a.opens - 1, h.horizon) AS lag,
           COALESCE(x.failure_reason, l.failure_reason) AS failure_reason,
           CASE WHEN x.position_id IS NOT NULL OR l.reason = 'OVERFLOW' THEN 'FAILED'
                WHEN a.is_unpublished OR (a.is_queued AND a.frontier_date IS NOT NULL)
                    THEN 'REPROCESSING'
                WHEN NOT a.is_done OR COALESCE(a.frontier_date, '-infinity') < h.horizon
                    THEN 'BEHIND'
                WHEN NOT a.is_whole THEN 'WAITING_FOR_DATA'
                ELSE 'CURRENT' END AS state
    FROM alike a
    JOIN portfolios f USING (portfolio_id)
    LEFT JOIN calendar_horizons h USING (calendar_id)
    LEFT JOIN failed x ON x.position_id = a.apart
    LEFT JOIN lacking l ON l.position_id = a.apart
), by_portfolio AS (
    SELECT f.portfolio_id, f.base_currency, COALESCE(sum(j.positions), 0) AS positions,
           sum(j.positions) FILTER (WHERE j.state = 'BEHIND') AS behind,
           sum(j.positions) FILTER (WHERE j.is_in_progress) AS reprocessing,
           sum(j.positions) FILTER (WHERE j.state = 'WAITING_FOR_DATA') AS waiting,
           sum(j.positions) FILTER (WHERE j.state = 'FAILED') AS failed
    FROM portfolios f
    LEFT JOIN judged j USING (portfolio_id)
    GROUP BY f.portfolio_id, f.base_currency
    ORDER BY COALESCE(sum(j.positions) FILTER (WHERE j.state <> 'CURRENT'), 0) DESC, f.portfolio_id
    LIMIT :limit
)
SELECT 'STATE' AS what, state AS name, sum(positions)::bigint AS positions,
       min(watermark_date) AS first_date, max(watermark_date) AS last_date,
       max(horizon) AS horizon, min(first_hole) AS first_hole, max(last_hole) AS last_hole,
       min(frontier_date) FILTER (WHERE NOT is_whole) AS frontier_of_holes,
       min(job_id) FILTER (WHERE state = 'WAITING_FOR_DATA') AS id, NULL AS example,
       NULL::bigint[] AS counts, bool_or(watermark_date IS NULL) AS is_unscheduled
FROM judged
GROUP BY state
UNION ALL
SELECT 'REASON', split_part(failure_reason, ' ', 1), sum(positions)::bigint, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, min(failure_reason), NULL, NULL
FROM judged
WHERE state IN ('WAITING_FOR_DATA', 'FAILED')
GROUP BY split_part(failure_reason, ' ', 1)
UNION ALL
SELECT 'LAG', NULL, sum(positions)::bigint, NULL, NULL, NULL, NULL, NULL, NULL,
       GREATEST(lag, 0), NULL, NULL, NULL
FROM judged
WHERE lag IS NOT NULL
GROUP BY GREATEST(lag, 0)
UNION ALL
SELECT 'CORRECTION', NULL, sum(positions)::bigint, NULL, NULL, NULL, NULL, NULL, NULL, trigger_id,
       NULL, ARRAY[min(position_id), COALESCE(sum(positions) FILTER (
           WHERE state = 'REPROCESSING'), 0)::bigint], NULL
FROM judged
WHERE is_unpublished
GROUP BY trigger_id
UNION ALL
SELECT 'PORTFOLIO', portfolio_id, positions::bigint, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       base_currency,
       ARRAY[COALESCE(behind, 0), COALESCE(reprocessing, 0), COALESCE(waiting, 0),
             COALESCE(failed, 0)]::bigint[],
       NULL
FROM by_portfolio
