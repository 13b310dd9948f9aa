"""Step 5, apply: shrink what is pending, publish, and defer, release or recover unfinished jobs."""
