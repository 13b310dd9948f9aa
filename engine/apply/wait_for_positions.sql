-- Wait for the locks of these positions. For who holds them to be seen.
SELECT FROM position_state
WHERE position_id = ANY (:positions::bigint[])
ORDER BY position_id
FOR NO KEY UPDATE
