-- The position records of the incoming positions that the load can concern, by date: those that are
-- stored (was) and those that there will be (becomes), each an array of quantity, cost_basis_local
-- and cost_basis, or NULL where there is no record. A stored record that the load changes or
-- removes ends; a record that it changes or inserts begins.
--
-- Where a record is given without a quantity, there is none from now on: a load that is taken back
-- had added it. Records that the load does not give stay. With :replace those after the first date
-- that it gives do not. So no record before the last one before the first given date is read, and
-- none after the first one after the last given date, unless :replace: however long a history is, a
-- daily file reads two records of it. The subqueries are lateral, so that they are index lookups.
CREATE TEMP TABLE target_history ON COMMIT DROP AS
WITH given AS (
    SELECT p.position_id, i.position_date, true AS is_given,
           CASE WHEN i.quantity IS NOT NULL
                THEN ARRAY[i.quantity, i.cost_basis_local, i.cost_basis] END AS record
    FROM incoming i JOIN position_state p USING (portfolio_id, security_id)
), stored AS (
    SELECT s.position_id, h.position_date,
           ARRAY[h.quantity, h.cost_basis_local, h.cost_basis] AS record,
           h.position_date < s.first_given OR NOT :replace::boolean AS is_kept
    FROM (
        SELECT position_id, min(position_date) AS first_given, max(position_date) AS last_given
        FROM given
        GROUP BY position_id
    ) s
    CROSS JOIN LATERAL (
        (SELECT * FROM position_history h
         WHERE h.position_id = s.position_id AND h.valid_to_epoch IS NULL
           AND h.position_date < s.first_given
         ORDER BY h.position_date DESC
         LIMIT 1)
        UNION ALL
        (SELECT * FROM position_history h
         WHERE h.position_id = s.position_id AND h.valid_to_epoch IS NULL
           AND h.position_date BETWEEN s.first_given AND s.last_given)
        UNION ALL
        (SELECT * FROM position_history h
         WHERE h.position_id = s.position_id AND h.valid_to_epoch IS NULL
           AND h.position_date > s.last_given
         ORDER BY h.position_date
         LIMIT CASE WHEN NOT :replace::boolean THEN 1 END)
    ) h
)
SELECT *, was IS NOT NULL AND was IS DISTINCT FROM becomes AS ends,
       becomes IS NOT NULL AND becomes IS DISTINCT FROM was AS begins
FROM (
    SELECT position_id, position_date, w.record AS was,
           CASE WHEN g.is_given THEN g.record WHEN w.is_kept THEN w.record END AS becomes,
           g.is_given IS NOT NULL AS is_given
    FROM given g FULL JOIN stored w USING (position_id, position_date)
) records
