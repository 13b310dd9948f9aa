-- The published valuation of each position and date (postgres_valuations).
--
-- While files of a lake have some of them this view cannot show all, and says so: an answer that
-- lacks rows would look like one that does not. The error is raised by a branch that would give
-- rows and not by a condition: on the nullable side of an outer join a condition is a join filter,
-- which is not looked at where no row is found.
CREATE OR REPLACE VIEW position_valuations AS
SELECT v.*
FROM postgres_valuations v
UNION ALL
SELECT r.*
FROM (SELECT l.address FROM lake l WHERE EXISTS (SELECT FROM lake_files) OFFSET 0) n
CROSS JOIN LATERAL refuse_without_lake(n.address) r;
