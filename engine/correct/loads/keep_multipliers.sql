-- Give incoming instruments the multiplier that is stored: the input has no column for it. It is
-- locked, in the order of the ids, so that no other load changes it meanwhile.
WITH stored AS (
    SELECT s.security_id, s.contract_multiplier
    FROM instruments s
    WHERE s.security_id IN (SELECT security_id FROM incoming)
    ORDER BY s.security_id
    FOR NO KEY UPDATE OF s
)
UPDATE incoming i
SET contract_multiplier = s.contract_multiplier
FROM stored s
WHERE i.security_id = s.security_id AND s.contract_multiplier IS NOT NULL
