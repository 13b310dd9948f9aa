-- How many megabytes of disk the write-ahead log takes.
SELECT sum(size)::bigint >> 20 FROM pg_ls_waldir()
