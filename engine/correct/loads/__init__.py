"""Load files and frames: all of one or nothing; record who has loaded what when."""
