"""Runs the command line: `python -m keras_lip --help`."""

import sys

from keras_lip.command_line import main

if __name__ == "__main__":
    sys.exit(main())
