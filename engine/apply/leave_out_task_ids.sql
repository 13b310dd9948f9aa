-- Leave out a million task ids.
--
-- A server that has lost its last commits (a failover to a standby that lagged behind, an older
-- backup) gives ids again that it had given. An attempt of that time may still run, and could
-- finish the jobs of another one by its id. A scheduler recovers whenever its server was away.
SELECT setval('valuation_task_ids', nextval('valuation_task_ids') + 1000000)
