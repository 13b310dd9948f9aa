"""The reference valuation: row by row in plain Python decimals, independent of the core."""
