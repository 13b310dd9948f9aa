-- Lock the positions of a security, in the order of their ids, so that two loads cannot deadlock;
-- return how many there are.
SELECT count(*)
FROM (
    SELECT position_id
    FROM position_state
    WHERE security_id = :security
    ORDER BY position_id
    FOR UPDATE
) locked
