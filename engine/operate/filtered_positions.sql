-- Up to :limit of the positions that fit the filters, as one array; NULL: none. A filter that is
-- NULL does not apply.
SELECT array_agg(position_id)
FROM (
    SELECT position_id
    FROM position_state
    WHERE (:portfolio::text IS NULL OR portfolio_id = :portfolio)
      AND (:portfolios::text[] IS NULL OR portfolio_id = ANY (:portfolios))
      AND (:security::text IS NULL OR security_id = :security)
    LIMIT :limit
) p
