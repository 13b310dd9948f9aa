-- A table for the epochs that were published at the floor.
CREATE TEMP TABLE floor_epochs (position_id bigint PRIMARY KEY, epoch integer NOT NULL)
