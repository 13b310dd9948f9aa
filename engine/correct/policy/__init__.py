"""The valuation policy, and the currencies that there are."""
