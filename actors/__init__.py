"""Who runs the engine on Ray: the scheduler, the pool of valuation actors, the connection to a cluster."""
