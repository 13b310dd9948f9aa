"""Ray: the scheduler and its loop, the pool of valuation actors, the runs of commands."""
