"""Step 3, stage: scan due dates, let the core decide, and write them as jobs."""
