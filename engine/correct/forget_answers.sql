-- Delete up to :most answers that are older than :seconds. Another transaction that deletes some of
-- them is not waited for.
DELETE FROM request_answers
WHERE (who, request_key) IN (
    SELECT who, request_key
    FROM request_answers
    WHERE answered_at <= clock_timestamp() - make_interval(secs => :seconds::double precision)
    ORDER BY answered_at
    LIMIT :most
    FOR UPDATE SKIP LOCKED)
