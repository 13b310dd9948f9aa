-- Lock the positions whose records a load has written, in the order of their ids, so that two loads
-- cannot deadlock; return how many there are.
SELECT count(*)
FROM (
    SELECT p.position_id
    FROM position_state p
    WHERE p.position_id IN (
        SELECT unnest(k.position_ids)
        FROM loads l
        JOIN replaced_records k USING (moment_id)
        WHERE l.load_id = :load)
    ORDER BY p.position_id
    FOR UPDATE
) locked
