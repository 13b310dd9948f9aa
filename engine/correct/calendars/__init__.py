"""Open business days."""
