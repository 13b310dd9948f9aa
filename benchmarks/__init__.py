"""Measurements of the engine against its baselines: seeded workloads and one report."""
