-- Leave the proposed positions that another transaction has locked for a later scan, together with
-- their jobs; the others are locked. Takes as long as staging itself, so it is for the case that
-- staging has waited in vain.
WITH free AS (
    SELECT position_id
    FROM position_state
    WHERE position_id BETWEEN :first_position AND :last_position
      AND position_id IN (SELECT position_id FROM staged_positions)
    FOR NO KEY UPDATE SKIP LOCKED
)
DELETE FROM staged_positions WHERE position_id NOT IN (SELECT position_id FROM free)
