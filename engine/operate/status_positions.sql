-- Positions by state, with the range of their watermarks, the latest horizon, the range of their
-- holes, and the earliest frontier of those with holes.
SELECT state, count(*) AS positions, min(watermark_date) AS first_watermark,
       max(watermark_date) AS last_watermark, max(horizon) AS horizon,
       min(lower(holes)) AS first_hole, max(upper(holes) - 1) AS last_hole,
       min(frontier_date) FILTER (WHERE NOT isempty(holes)) AS frontier_of_holes
FROM position_status
GROUP BY state
ORDER BY state
