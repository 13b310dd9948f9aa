-- Insert the incoming business dates that are new. A database trigger records what that corrects.
WITH written AS (
    INSERT INTO business_dates (calendar_id, business_date)
    SELECT calendar_id, business_date FROM incoming ORDER BY calendar_id, business_date
    ON CONFLICT DO NOTHING
    RETURNING calendar_id
)
SELECT count(*) AS inserted, 0::bigint AS changed,
       (SELECT count(*) FROM incoming) - count(*) AS unchanged
FROM written
