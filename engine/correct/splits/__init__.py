"""Correct the quantities of a security for a split."""
