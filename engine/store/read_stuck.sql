-- Keys that wait, failed, or are being corrected; since when: of the correction they are on, or of the job that waits.
SELECT s.position_id, s.portfolio_id, s.security_id, s.state, s.reprocessing_status, s.watermark_date, s.epoch,
       s.published_epoch, s.failure_reason, COALESCE(j.created_at, t.created_at) AS since
FROM position_status s
JOIN position_state p USING (position_id)
LEFT JOIN portfolio_valuation_jobs j USING (job_id)
LEFT JOIN reprocessing_triggers t ON t.trigger_id = p.trigger_id AND p.published_epoch < p.epoch
WHERE s.position_id > :after AND s.state IN ('REPROCESSING', 'WAITING_FOR_DATA', 'FAILED')
  AND (:portfolios::text[] IS NULL OR s.portfolio_id = ANY (:portfolios::text[]))
ORDER BY s.position_id
LIMIT :most
