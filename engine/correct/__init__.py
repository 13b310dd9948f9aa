"""Step 1, correct: load files and frames, make corrections, and find what they affect."""
