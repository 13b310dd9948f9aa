-- How many pages the table of the incoming rows has.
SELECT pg_relation_size('pg_temp.incoming') / current_setting('block_size')::integer
