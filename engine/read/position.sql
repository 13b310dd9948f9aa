-- A position as readers see it now (:known_at NULL) or saw it at :known_at. What is not recorded
-- of the past is NULL; a position that had published nothing yet has no published_epoch.
SELECT p.portfolio_id, p.security_id, k.state, k.reprocessing_status, k.epoch, k.published_epoch,
       k.watermark_date, k.frontier_date,
       (SELECT b.business_date
        FROM business_dates_at(:known_at::timestamptz) b
        WHERE b.calendar_id = f.calendar_id
        ORDER BY b.business_date DESC
        LIMIT 1) AS horizon,
       k.failure_reason, lower(k.holes) AS first_hole, upper(k.holes) - 1 AS last_hole,
       CASE WHEN k.reprocessing_status = 'IN_PROGRESS'
            THEN reprocessing_since(k.position_id, :known_at::timestamptz)
            END AS reprocessing_since
FROM position_state p
JOIN portfolios f USING (portfolio_id)
LEFT JOIN positions_at(:known_at::timestamptz, :portfolio, :security) k
  ON k.portfolio_id = :portfolio AND k.security_id = :security
WHERE p.portfolio_id = :portfolio AND p.security_id = :security
