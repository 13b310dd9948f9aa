-- Prepare this transaction for finding jobs in indexes. The planner cannot know how many jobs meet
-- some positions, and with a LIMIT it would read the table in the hope of finding enough at once.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)
