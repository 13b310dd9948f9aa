SELECT f.portfolio_id, f.base_currency, count(s.position_id) AS positions,
       count(*) FILTER (WHERE s.reprocessing_status = 'IN_PROGRESS') AS positions_reprocessing,
       min(s.watermark_date) AS first_watermark, max(s.horizon) AS horizon
FROM portfolios f LEFT JOIN position_status s USING (portfolio_id)
WHERE f.portfolio_id = :portfolio
GROUP BY f.portfolio_id, f.base_currency
