"""Read files, frames and tables, parse their columns, and find the rules that rows break."""
