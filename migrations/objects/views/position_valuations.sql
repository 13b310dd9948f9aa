-- The published valuation of each position and date (postgres_valuations).
--
-- While files of a lake have some of them this view cannot show all, and says so: an answer that
-- lacks rows would look like one that does not.
CREATE OR REPLACE VIEW position_valuations AS
SELECT v.*
FROM postgres_valuations v
WHERE (SELECT CASE WHEN EXISTS (SELECT FROM lake_files)
                   THEN refuse_without_lake((SELECT address FROM lake)) ELSE true END);
