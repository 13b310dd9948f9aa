SELECT f.portfolio_id, f.base_currency, count(k.position_id) AS positions,
       count(*) FILTER (WHERE k.reprocessing_status = 'IN_PROGRESS') AS positions_reprocessing,
       NULL::date AS first_watermark,
       (SELECT max(b.business_date) FROM business_dates b LEFT JOIN moments m USING (moment_id)
        WHERE b.calendar_id = f.calendar_id AND COALESCE(m.at, '-infinity') <= :known_at::timestamptz) AS horizon
FROM portfolios f LEFT JOIN positions_at(:known_at::timestamptz) k USING (portfolio_id)
WHERE f.portfolio_id = :portfolio
GROUP BY f.portfolio_id, f.base_currency, f.calendar_id
