"""What operators see and do: status, jobs, dead letters, tokens, remaining time, database metrics."""
