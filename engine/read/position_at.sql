-- What is not recorded of the past is null. A position that was not there yet has no published_epoch.
SELECT p.position_id, p.portfolio_id, p.security_id, NULL::text AS state, k.reprocessing_status, NULL::integer AS epoch,
       k.epoch AS published_epoch, NULL::date AS watermark_date, NULL::date AS frontier_date,
       (SELECT max(b.business_date) FROM business_dates b LEFT JOIN moments m USING (moment_id)
        WHERE b.calendar_id = f.calendar_id AND COALESCE(m.at, '-infinity') <= :known_at::timestamptz) AS horizon,
       NULL::text AS failure_reason
FROM position_state p
JOIN portfolios f USING (portfolio_id)
LEFT JOIN positions_at(:known_at::timestamptz) k USING (position_id)
WHERE p.portfolio_id = :portfolio AND p.security_id = :security
