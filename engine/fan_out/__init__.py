"""Step 2, fan out: invalidate every position that a queued trigger affects."""
