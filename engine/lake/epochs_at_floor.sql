-- The epoch that each position had published at the retention floor; no row if there is no floor.
SELECT p.position_id, p.published_epoch
FROM retention r
CROSS JOIN LATERAL publications_at(r.floor) p
