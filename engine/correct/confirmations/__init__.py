"""Confirm prices and rates that moved far."""
