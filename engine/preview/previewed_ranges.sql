-- The table of the ranges whose published rows are compared, until the transaction ends.
CREATE TEMP TABLE previewed_ranges (
    position_id bigint, first_date date, last_date date
) ON COMMIT DROP
