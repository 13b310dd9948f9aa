-- How many position records the load inserts, changes, leaves unchanged and removes.
SELECT count(*) FILTER (WHERE begins AND NOT ends) AS inserted,
       count(*) FILTER (WHERE begins AND ends) AS changed,
       count(*) FILTER (WHERE is_given AND NOT begins) AS unchanged,
       count(*) FILTER (WHERE ends AND NOT begins) AS removed
FROM target_history
