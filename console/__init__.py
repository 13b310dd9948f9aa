"""What people use: command line, API and web console, reference valuation, sample, monitoring."""
