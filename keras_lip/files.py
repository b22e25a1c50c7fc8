"""Writes files completely or not at all."""

import json
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any


def replace_file(
    path: pathlib.Path, write: Callable[[pathlib.Path], Any]
) -> None:
    """Writes a temporary file, and moves it to `path` when it is complete.

    Until then an older file is not changed.

    Args:
        path: Path of the file.
        write: Function that writes to a given path, which has the same suffix
            as `path`. It is called only if the folder is writable.
    """
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix="partial-", suffix="-" + path.name
    )
    os.close(descriptor)
    partial = pathlib.Path(name)
    try:
        write(partial)
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_writable(path: pathlib.Path, overwrite: bool) -> None:
    """Raises an error if a file cannot be written, before there is a content.

    Args:
        path: Path of the file.
        overwrite: Boolean. Whether an existing file may be replaced.

    Raises:
        ValueError: If the path exists and may not be replaced, or its folder
            does not exist or is not writable.
    """
    if path.exists() and not (overwrite and path.is_file()):
        raise ValueError(
            f"There is something at {str(path)!r} already. Pass another path, "
            "or `overwrite=True` to replace a file."
        )
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise ValueError(
            f"The file cannot be written to {str(path)!r}. Pass a path in an "
            "existing, writable folder."
        )


def write_file(
    path: pathlib.Path, make: Callable[[], bytes], overwrite: bool
) -> pathlib.Path:
    """Writes a file completely or not at all.

    Args:
        path: Path of the file.
        make: Function that returns the content. It is called only if the path
            can be written to.
        overwrite: Boolean. Whether an existing file may be replaced.

    Returns:
        The path.

    Raises:
        ValueError: If the path exists and may not be replaced, or cannot be
            written to.
    """
    return write_path(
        path, lambda partial: partial.write_bytes(make()), overwrite
    )


def write_path(
    path: pathlib.Path, write: Callable[[pathlib.Path], Any], overwrite: bool
) -> pathlib.Path:
    """Writes a file that need not fit in memory, completely or not at all.

    Args:
        path: Path of the file.
        write: Function that writes to a given path, which has the same suffix
            as `path`. It is called only if the path can be written to.
        overwrite: Boolean. Whether an existing file may be replaced.

    Returns:
        The path.

    Raises:
        ValueError: If the path exists and may not be replaced, or cannot be
            written to.
    """
    check_writable(path, overwrite)
    try:
        replace_file(path, write)
    except OSError as error:
        raise ValueError(
            f"The file cannot be written to {str(path)!r}: {error}. Pass a "
            "path in an existing, writable folder."
        ) from error
    return path


def write_json(path: str | pathlib.Path, content: Any) -> None:
    """Writes a JSON file completely or not at all.

    Args:
        path: Path of the file. An older file is replaced.
        content: An object that `json.dumps` takes.

    Raises:
        ValueError: If the path cannot be written to.
    """
    write_text(path, json.dumps(content, indent=2))


def write_text(path: str | pathlib.Path, content: str) -> None:
    """Writes a UTF-8 text file completely or not at all.

    Args:
        path: Path of the file. An older file is replaced.
        content: String.

    Raises:
        ValueError: If the path cannot be written to.
    """
    encoded = content.encode()
    write_file(pathlib.Path(path), lambda: encoded, overwrite=True)


def missing_package(package: str) -> ImportError:
    """Returns the error that names the extra to install."""
    return ImportError(
        f"This needs `{package}`. Install the extra `report`: "
        'pip install "keras-lip[report]"'
    )
