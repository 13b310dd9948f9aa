-- How many positions the given portfolios have (NULL: all of them). Not more than :most_rows are
-- counted, so that a large book costs no more than a small one.
SELECT count(*)
FROM (
    SELECT FROM position_state
    WHERE :portfolios::text[] IS NULL OR portfolio_id = ANY (:portfolios)
    LIMIT :most_rows::bigint
) few
