"""Where the command `revalue` starts: half of what a short command takes are its imports and their
end."""

import gc


def main() -> None:
    """Run the command line.

    All that is imported lives until the process ends. The garbage collector would walk over it
    again and again while it is imported, and once more at the end.
    """
    gc.disable()
    from revalue.console.cli import main as command_line

    gc.freeze()
    gc.enable()
    try:
        command_line.main()
    finally:
        gc.freeze()
