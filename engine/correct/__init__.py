"""Step 1, correct: files, frames and single corrections in; what each of them can affect."""
