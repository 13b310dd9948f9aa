-- What a valuation needs of the positions from :first_position to :last_position (both included).
SELECT p.position_id, p.epoch, p.calendar_no, i.instrument_no, lc.currency_no AS local_no,
       p.base_currency_no AS base_no
FROM position_state p
JOIN instruments i USING (security_id)
JOIN currencies lc ON lc.currency = i.currency
WHERE p.position_id BETWEEN :first_position AND :last_position
