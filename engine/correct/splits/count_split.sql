-- How many records and positions a split changes; how many of the positions begin after its date;
-- of how many records the new quantity does not come out at 10 places or has more than 18 digits
-- before the point; and how many are in new shares already, as it seems.
SELECT count(*) AS records, count(DISTINCT portfolio_id) AS positions,
       count(DISTINCT portfolio_id)
           - count(DISTINCT portfolio_id) FILTER (WHERE position_date = :day::date) AS begin_later,
       count(*) FILTER (WHERE NOT is_exact OR abs(new_quantity) >= 1e18) AS misfits,
       count(*) FILTER (WHERE is_split) AS split_already
FROM split_records
