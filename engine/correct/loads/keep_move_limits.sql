-- Give incoming instruments the limit of moves that is stored: the input has no column for it. It
-- is locked, in the order of the ids, so that no other load changes it meanwhile.
WITH stored AS (
    SELECT s.security_id, s.move_limit_percent
    FROM instruments s
    WHERE s.security_id IN (SELECT security_id FROM incoming)
    ORDER BY s.security_id
    FOR NO KEY UPDATE OF s
)
UPDATE incoming i
SET move_limit_percent = s.move_limit_percent
FROM stored s
WHERE i.security_id = s.security_id AND s.move_limit_percent IS NOT NULL
