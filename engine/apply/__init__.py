"""Step 5, apply: results shrink what is pending and publish; unfinished jobs are deferred, released, recovered."""
