"""What a correction would do: the real plan, computed and rolled back."""
