-- How many records and positions a split changes, and of how many records the new quantity does not
-- come out at 10 places or has more than 18 digits before the point.
SELECT count(*) AS records, count(DISTINCT portfolio_id) AS positions,
       count(*) FILTER (WHERE NOT is_exact OR abs(new_quantity) >= 1e18) AS misfits
FROM split_records
