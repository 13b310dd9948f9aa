-- Drop the table of the epochs at the floor, if this session has it from an earlier prune.
DROP TABLE IF EXISTS pg_temp.floor_epochs
