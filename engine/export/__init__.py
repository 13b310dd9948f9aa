"""Exports: the published numbers of a moment as a table that other engines read."""
