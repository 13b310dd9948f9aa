-- The first :most securities without a multiplier of which a price would be restored that is quoted
-- per contract, with the number of all. A load refuses such prices, too.
SELECT security_id, count(*) OVER () AS count
FROM (
    SELECT DISTINCT r.security_id
    FROM reverted r
    JOIN instruments i USING (security_id)
    WHERE r.old_quote_basis = 'PER_CONTRACT' AND NOT r.is_later AND i.contract_multiplier IS NULL
) securities
ORDER BY security_id
LIMIT :most
