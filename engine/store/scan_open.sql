SELECT p.position_id, lower(r) AS first_date, CASE WHEN NOT upper_inf(r) THEN upper(r) - 1 END AS last_date
FROM position_state p CROSS JOIN LATERAL unnest(p.open_dates) AS r
WHERE p.position_id BETWEEN :first_position AND :last_position
