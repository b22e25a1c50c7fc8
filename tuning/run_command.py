"""What the commands share: errors as one line."""

import sys
from collections.abc import Callable


def run_command(command: Callable[[], int], name: str) -> int:
    """Runs a command, and says in one line what is wrong with its arguments.

    Args:
        command: Function that returns the status to exit with.
        name: Name of the command.

    Returns:
        Integer. The status to exit with: 2 if an argument is wrong, or a
        package is not installed.
    """
    try:
        return command()
    except (ValueError, ImportError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
