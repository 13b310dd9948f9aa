-- Let the planner know how many positions there are: autovacuum does not see this table.
ANALYZE floor_epochs
