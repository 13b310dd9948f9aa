-- Every snapshot with the time at which it was committed (valued_at).
--
-- A job that committed in parts has a row in job_parts for each part: a snapshot came with the
-- first part that reaches its date, or with the job's own moment after the last part. No moment:
-- the snapshot is older than moments are, so it was known at all times. So it is for readers if its
-- job was pruned, which was done before the retention floor. A subquery and no joins:
-- the planner can then use the indexes of the snapshots wherever the view is joined.
CREATE OR REPLACE VIEW dated_snapshots AS
SELECT s.*, COALESCE(
    (SELECT m.at FROM moments m
     WHERE m.moment_id = COALESCE(
         (SELECT k.moment_id FROM job_parts k
          WHERE k.job_id = s.job_id AND k.valued_through >= s.date
          ORDER BY k.valued_through
          LIMIT 1),
         (SELECT j.moment_id FROM portfolio_valuation_jobs j WHERE j.job_id = s.job_id))),
    '-infinity') AS valued_at
FROM daily_position_snapshots s;
