-- The corrections that something still names: the jobs, apart from :gone, and the positions.
--
-- A later job takes its correction from a position, from another job, or from a trigger that was
-- not fanned out at the floor: none is missing.
SELECT COALESCE(array_agg(DISTINCT u.trigger_id), '{}') AS causes
FROM (
    SELECT unnest(trigger_ids) AS trigger_id
    FROM portfolio_valuation_jobs
    WHERE job_id <> ALL (:gone::bigint[])
    UNION
    SELECT trigger_id FROM position_state
) u
WHERE u.trigger_id IS NOT NULL
