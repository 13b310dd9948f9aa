-- The portfolios of which a job covers positions.
SELECT DISTINCT p.portfolio_id
FROM job_spans s
JOIN position_state p USING (position_id)
WHERE s.job_id = :job
