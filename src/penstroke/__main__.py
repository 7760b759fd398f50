"""`python -m penstroke`, and the program `penstroke`."""

import os
import signal


def main() -> None:
    """Run the command line; while it is loaded, Ctrl-C ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # To look for plugins of pydantic is to read the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from penstroke.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
