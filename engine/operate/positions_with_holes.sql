-- Up to :limit positions that have holes now. A filter that is NULL does not apply.
SELECT position_id
FROM position_state
WHERE NOT isempty(holes) AND (:positions::bigint[] IS NULL OR position_id = ANY (:positions))
LIMIT :limit
