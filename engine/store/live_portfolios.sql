-- Portfolios, those with most keys that are not current first.
SELECT portfolio_id, f.base_currency, count(s.position_id) AS keys,
       count(*) FILTER (WHERE s.state = 'BEHIND') AS keys_behind,
       count(*) FILTER (WHERE s.reprocessing_status = 'IN_PROGRESS') AS keys_in_correction,
       count(*) FILTER (WHERE s.state = 'WAITING_FOR_DATA') AS keys_waiting,
       count(*) FILTER (WHERE s.state = 'FAILED') AS keys_failed
FROM portfolios f LEFT JOIN position_status s USING (portfolio_id)
GROUP BY portfolio_id, f.base_currency
ORDER BY count(*) FILTER (WHERE s.state <> 'CURRENT') DESC, portfolio_id
LIMIT :most
