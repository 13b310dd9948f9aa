-- A portfolio with the number of its positions, as readers see them now (:known_at NULL) or saw
-- them at :known_at. Watermarks of the past are not recorded: first_watermark is NULL.
SELECT f.portfolio_id, f.base_currency, count(k.position_id) AS positions,
       count(*) FILTER (WHERE k.reprocessing_status = 'IN_PROGRESS') AS positions_reprocessing,
       min(k.watermark_date) AS first_watermark,
       (SELECT b.business_date
        FROM business_dates_at(:known_at::timestamptz) b
        WHERE b.calendar_id = f.calendar_id
        ORDER BY b.business_date DESC
        LIMIT 1) AS horizon
FROM portfolios f
LEFT JOIN positions_at(:known_at::timestamptz, :portfolio) k ON k.portfolio_id = f.portfolio_id
WHERE f.portfolio_id = :portfolio
GROUP BY f.portfolio_id, f.base_currency, f.calendar_id
