-- The first :most position records that were changed since the load: which, what it left, what is
-- stored now.
SELECT format('%s / %s from %s', p.portfolio_id, p.security_id, r.position_date) AS subject,
       array_to_string(r.new_record, ' ') AS left_by_load,
       array_to_string(r.record, ' ') AS now
FROM reverted r
JOIN position_state p USING (position_id)
WHERE r.is_later
ORDER BY p.portfolio_id, p.security_id, r.position_date
LIMIT :most
