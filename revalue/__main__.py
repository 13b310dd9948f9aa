"""`python -m revalue`: the command line, where the script `revalue` is not on the path."""

from revalue.console.cli.start import main

main()
