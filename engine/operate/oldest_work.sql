-- How long positions that wait or are being reprocessed have been so, at most. Since when a position waits is when its job was made;
-- since when it is reprocessed, when the correction was made that it is on, or that is queued still.
SELECT extract(epoch FROM clock_timestamp() - LEAST(
           min(t.created_at) FILTER (WHERE s.state = 'REPROCESSING'),
           (SELECT min(created_at) FROM reprocessing_triggers WHERE fanned_out_at IS NULL)))::double precision AS reprocessing,
       extract(epoch FROM clock_timestamp() - min(j.created_at) FILTER (WHERE s.state = 'WAITING_FOR_DATA'))::double precision
           AS waiting
FROM position_status s
JOIN position_state p USING (position_id)
LEFT JOIN reprocessing_triggers t ON t.trigger_id = p.trigger_id
LEFT JOIN portfolio_valuation_jobs j USING (job_id)
WHERE s.state IN ('REPROCESSING', 'WAITING_FOR_DATA')
