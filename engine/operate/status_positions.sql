-- Positions by state, with the range of their watermarks and the latest horizon.
SELECT state, count(*) AS positions, min(watermark_date) AS first_watermark,
       max(watermark_date) AS last_watermark, max(horizon) AS horizon
FROM position_status
GROUP BY state
ORDER BY state
