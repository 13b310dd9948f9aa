"""Step 2, fan out: every position that a queued trigger affects is invalidated under a new epoch."""
