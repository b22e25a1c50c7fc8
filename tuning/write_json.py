"""A JSON file that is never half written."""

import json
import pathlib
from typing import Any

from keras_lip.files import write_file


def write_json(path: str | pathlib.Path, content: Any) -> None:
    """Writes JSON to a file, whole or not at all.

    Args:
        path: Path of the file, which may exist.
        content: What `json.dumps` takes.
    """
    encoded = json.dumps(content, indent=1).encode()
    write_file(pathlib.Path(path), lambda: encoded, overwrite=True)
