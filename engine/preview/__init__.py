"""What a correction would do: made and rolled back, and what it affects is valued."""
