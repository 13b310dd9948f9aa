"""The reference valuation: compares what readers see with a second implementation of the rules."""
