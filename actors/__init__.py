"""The scheduler and its loop, the pool of valuation actors, and runs; on Ray and without it."""
