"""What a person touches: the command line, progress, the sample book, reports."""
