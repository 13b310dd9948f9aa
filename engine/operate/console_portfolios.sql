-- Portfolios with the number of their positions by state, those with the most positions that are
-- not current first.
SELECT portfolio_id, f.base_currency, count(s.position_id) AS positions,
       count(*) FILTER (WHERE s.state = 'BEHIND') AS positions_behind,
       count(*) FILTER (WHERE s.reprocessing_status = 'IN_PROGRESS') AS positions_reprocessing,
       count(*) FILTER (WHERE s.state = 'WAITING_FOR_DATA') AS positions_waiting,
       count(*) FILTER (WHERE s.state = 'FAILED') AS positions_failed
FROM portfolios f LEFT JOIN position_status s USING (portfolio_id)
GROUP BY portfolio_id, f.base_currency
ORDER BY count(*) FILTER (WHERE s.state <> 'CURRENT') DESC, portfolio_id
LIMIT :limit
