"""Files that are written whole or not at all."""

import os
import pathlib
import tempfile
from collections.abc import Callable


def write_file(
    path: pathlib.Path, make: Callable[[], bytes], overwrite: bool
) -> pathlib.Path:
    """Writes a file beside its place and moves it there when it is whole.

    Args:
        path: Where the file shall be.
        make: Function that returns its content. It is called only if the path
            can be written to.
        overwrite: Boolean. Whether an existing file may be replaced.

    Returns:
        The path.

    Raises:
        ValueError: If the path exists and may not be replaced, or cannot be
            written to.
    """
    if path.exists() and not (overwrite and path.is_file()):
        raise ValueError(
            f"There is something at {str(path)!r} already. Pass another path, "
            "or `overwrite=True` to replace a file."
        )
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=path.name
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(make())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(
            f"The file cannot be written to {str(path)!r}: {error}. Pass a "
            "path in an existing folder that can be written to."
        ) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.remove(temporary)
    return path


def missing_package(package: str) -> ImportError:
    """Returns the error that names the extra to install."""
    return ImportError(
        f"This needs `{package}`. Install the extra `report`: "
        'pip install "keras-lip[report]"'
    )
