-- Positions that wait, failed, or are being corrected; since when: of the job that waits or failed.
SELECT s.position_id, s.portfolio_id, s.security_id, s.state, s.reprocessing_status, s.watermark_date, s.epoch,
       s.published_epoch, s.failure_reason, j.created_at AS since
FROM position_status s
LEFT JOIN portfolio_valuation_jobs j USING (job_id)
WHERE s.position_id > :after AND s.state IN ('REPROCESSING', 'WAITING_FOR_DATA', 'FAILED')
  AND (:portfolios::text[] IS NULL OR s.portfolio_id = ANY (:portfolios::text[]))
ORDER BY s.position_id
LIMIT :most
