-- Lock the positions that have results which nobody has applied, until the end of the transaction;
-- :positions: only these, NULL: all. Returns the positions, and whether they are locked now; those
-- that another transaction has locked are left.
WITH unapplied AS (
    SELECT p.position_id
    FROM position_state p
    WHERE NOT isempty(p.pending)
      AND (:positions::bigint[] IS NULL OR p.position_id = ANY (:positions::bigint[]))
      AND EXISTS (
          SELECT FROM portfolio_valuation_jobs j
          WHERE j.position_id = p.position_id AND j.epoch = p.epoch
            AND j.valued_through IS NOT NULL)
), free AS (
    SELECT position_id
    FROM position_state
    WHERE position_id IN (SELECT position_id FROM unapplied)
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT u.position_id, f.position_id IS NOT NULL AS is_free
FROM unapplied u
LEFT JOIN free f USING (position_id)
