"""Correct one price, one rate or one position, a file of them, or several together."""
