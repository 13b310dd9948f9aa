-- The position records in force on the dates of each position: those between its first and its last
-- date, the last one at or before its first date, and the one before that, which says whether a
-- quantity of 0 closes anything.
--
-- The spans have their position's present epoch in this snapshot, so the records that hold are
-- those whose validity has not ended. The arrays are parallel; days are counted from 1970-01-01.
SELECT h.position_id, h.position_date, h.quantity, h.cost_basis_local, h.cost_basis
FROM (
    SELECT position_id, DATE '1970-01-01' + first_day AS first_date,
           DATE '1970-01-01' + last_day AS last_date
    FROM unnest(:positions::bigint[], :first_days::integer[], :last_days::integer[])
        AS k (position_id, first_day, last_day)
) k
CROSS JOIN LATERAL (
    (SELECT * FROM position_history h
     WHERE h.position_id = k.position_id AND h.valid_to_epoch IS NULL
       AND h.position_date > k.first_date AND h.position_date <= k.last_date
       AND k.first_date < k.last_date)
    UNION ALL
    (SELECT * FROM position_history h
     WHERE h.position_id = k.position_id AND h.valid_to_epoch IS NULL
       AND h.position_date <= k.first_date
     ORDER BY h.position_date DESC
     LIMIT 2)
) h
