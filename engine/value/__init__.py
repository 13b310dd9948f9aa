"""Step 4, value: one task from its inputs to its commit."""
