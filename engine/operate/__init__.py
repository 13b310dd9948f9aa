"""What operators see and do: status, jobs, dead letters, tokens, time left, database metrics."""
