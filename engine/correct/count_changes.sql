-- How many position records the load inserts, changes, leaves unchanged and removes.
SELECT count(*) FILTER (WHERE is_given AND NOT existed) AS inserted,
       count(*) FILTER (WHERE is_given AND existed AND differs) AS changed,
       count(*) FILTER (WHERE is_given AND NOT differs) AS unchanged,
       count(*) FILTER (WHERE NOT stays) AS removed
FROM target_history
