-- Positions that wait for data or failed, by the first word of the failure reason.
SELECT split_part(failure_reason, ' ', 1) AS reason, count(*) AS positions,
       min(failure_reason) AS example
FROM position_status
WHERE state IN ('WAITING_FOR_DATA', 'FAILED')
GROUP BY 1
ORDER BY 2 DESC, 1
