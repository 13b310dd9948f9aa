"""Step 3, stage: due dates are scanned, decided on by the core, and written as jobs."""
