"""How fast the engine is, beside what a user would pick instead: seeded workloads, peers, one report."""
