"""One scheduler leads at a time: its term, and what operators ask of it."""
