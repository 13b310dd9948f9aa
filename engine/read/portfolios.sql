-- The portfolios whose id contains a text, whatever the case, by id.
SELECT portfolio_id, base_currency
FROM portfolios
WHERE strpos(lower(portfolio_id), lower(:search)) > 0 AND portfolio_id > :after
  AND (:among::text[] IS NULL OR portfolio_id = ANY (:among))
ORDER BY portfolio_id
LIMIT :limit
