-- The portfolios whose positions a job covers.
SELECT DISTINCT p.portfolio_id
FROM job_spans s
JOIN position_state p USING (position_id)
WHERE s.job_id = :job
