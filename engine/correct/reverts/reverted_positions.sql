-- Make the table of the position records that a load has begun or ended, as reverted_prices does of
-- prices. Their positions are locked.
CREATE TEMP TABLE reverted ON COMMIT DROP AS
WITH kept AS MATERIALIZED (
    SELECT k.is_new, u.position_id, u.position_date,
           ARRAY[u.quantity, u.cost_local, u.cost] AS record
    FROM loads l
    JOIN replaced_records k USING (moment_id)
    CROSS JOIN LATERAL unnest(k.position_ids, k.dates, k.quantities, k.costs_local, k.costs)
        AS u (position_id, position_date, quantity, cost_local, cost)
    WHERE l.load_id = :load
), written AS MATERIALIZED (
    SELECT position_id, position_date, w.record AS old_record, n.record AS new_record
    FROM (SELECT * FROM kept WHERE NOT is_new) w
    FULL JOIN (SELECT * FROM kept WHERE is_new) n USING (position_id, position_date)
)
SELECT w.*, s.record, w.old_record IS NOT NULL AS had_before, w.new_record IS NOT NULL AS had_after,
       s.record IS DISTINCT FROM w.new_record AS is_later
FROM written w
LEFT JOIN LATERAL (
    SELECT ARRAY[h.quantity, h.cost_basis_local, h.cost_basis] AS record
    FROM position_history h
    WHERE h.position_id = w.position_id AND h.position_date = w.position_date
      AND h.valid_to_epoch IS NULL
) s ON true
