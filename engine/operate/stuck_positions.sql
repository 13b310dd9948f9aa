-- Positions that wait for data, failed or are reprocessing, and since when: since the job was made
-- that waits or failed, else since the correction was committed that the position reprocesses.
SELECT s.position_id, s.portfolio_id, s.security_id, s.state, s.reprocessing_status,
       s.watermark_date, s.epoch, s.published_epoch, s.failure_reason,
       lower(s.holes) AS first_hole, upper(s.holes) - 1 AS last_hole,
       COALESCE(j.created_at,
                CASE WHEN s.reprocessing_status = 'IN_PROGRESS'
                     THEN reprocessing_since(s.position_id, NULL) END) AS since
FROM position_status s
LEFT JOIN portfolio_valuation_jobs j USING (job_id)
WHERE s.position_id > :after AND s.state IN ('REPROCESSING', 'WAITING_FOR_DATA', 'FAILED')
  AND (:portfolios::text[] IS NULL OR s.portfolio_id = ANY (:portfolios))
ORDER BY s.position_id
LIMIT :limit
