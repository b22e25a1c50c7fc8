"""The folder of a search."""

import json
import pathlib
from typing import Any

from keras_lip.files import write_json

_SETTINGS = "settings.json"


def open_project(path: pathlib.Path, settings: dict[str, Any]) -> None:
    """Makes the folder of a search, or finds that of the same search.

    Args:
        path: Path of the folder.
        settings: Dict of what the search depends on.

    Raises:
        ValueError: If the folder holds another search, or anything else.
    """
    file = path / _SETTINGS
    # A worker may come while another writes the settings beside their place.
    others = path.exists() and any(
        not other.name.endswith(_SETTINGS) for other in path.iterdir()
    )
    # Another worker writes other files after the settings.
    if file.exists():
        _compare(path, json.loads(file.read_text("utf-8")), settings)
        return
    if others:
        raise ValueError(
            f"There is something at {str(path)!r}, which is no search. Pass "
            "another `--project`, or remove it."
        )
    path.mkdir(parents=True, exist_ok=True)
    write_json(file, settings)


def _compare(
    path: pathlib.Path, known: dict[str, Any], settings: dict[str, Any]
) -> None:
    different = [
        f"{name} is {known.get(name)!r} there, and {value!r} here"
        for name, value in settings.items()
        if known.get(name) != value
    ]
    if different:
        raise ValueError(
            f"The search at {str(path)!r} has other settings: "
            f"{'; '.join(different)}. Pass another `--project`, or the same "
            "settings to go on with it."
        )
