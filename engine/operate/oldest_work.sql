-- For how many seconds the oldest position of each state has been REPROCESSING or WAITING_FOR_DATA;
-- NULL: there is none.
--
-- A position waits since its job was made. It reprocesses since its correction was written, or
-- since the oldest queued trigger was.
SELECT extract(epoch FROM clock_timestamp() - LEAST(
           min(t.created_at) FILTER (WHERE s.state = 'REPROCESSING'),
           (SELECT min(created_at) FROM reprocessing_triggers WHERE fanned_out_at IS NULL)
       ))::double precision AS reprocessing,
       extract(epoch FROM clock_timestamp() -
           min(j.created_at) FILTER (WHERE s.state = 'WAITING_FOR_DATA')
       )::double precision AS waiting
FROM position_status s
JOIN position_state p USING (position_id)
LEFT JOIN reprocessing_triggers t ON t.trigger_id = p.trigger_id
LEFT JOIN portfolio_valuation_jobs j USING (job_id)
WHERE s.state IN ('REPROCESSING', 'WAITING_FOR_DATA')
