"""`python -m penstroke`: the command line, where the program is not on the path."""

from penstroke.cli.main import main

if __name__ == "__main__":
    main()
