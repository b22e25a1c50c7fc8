"""Paths of artifacts, which are installed completely or not at all."""

import os
import pathlib
import tempfile

from keras_lip.models.exporting.formats import FORMATS

# A SavedModel is a folder. `assets.extra` is its place for user files.
_INSIDE = "assets.extra/certificate.json"


def check_target(path: pathlib.Path, name: str, overwrite: bool) -> None:
    """Raises an error if an artifact cannot be written to a path.

    Args:
        path: Path of the artifact.
        name: Name of its format.
        overwrite: Boolean. Whether an existing artifact may be replaced.

    Raises:
        ValueError: If the path has the wrong suffix for the format, its folder
            does not exist, or something exists at the path that may not be
            replaced or is not an artifact.
    """
    suffix = FORMATS[name].suffix
    if suffix and path.suffix != suffix:
        raise ValueError(
            f"The path of the format {name!r} must end in {suffix}. Received: "
            f"{str(path)!r}"
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"The path must be in an existing folder. Received: {str(path)!r}"
        )
    for place in _places(path, name):
        replaceable = (
            (place / "saved_model.pb").is_file()
            if name == "tf_saved_model"
            else place.is_file()
        )
        if os.path.lexists(place) and not (overwrite and replaceable):
            raise ValueError(
                f"There is something at {str(place)!r} already. Pass another "
                "path, or `overwrite=True` to replace an exported model."
            )


def certificate_path(path: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of the certificate of an artifact.

    For a SavedModel this is `assets.extra/certificate.json` in its folder. For
    any other artifact it is a file beside it, with `.json` added to its name.
    """
    if name == "tf_saved_model":
        return path / _INSIDE
    return path.with_name(path.name + ".json")


def install(staged: pathlib.Path, path: pathlib.Path, name: str) -> None:
    """Moves an artifact to its path and replaces an older one.

    Either all of its files are replaced or none is.

    Args:
        staged: Current path of the artifact, in a folder on the same disk.
        path: Target path.
        name: Name of its format.
    """
    old = pathlib.Path(tempfile.mkdtemp(dir=staged.parent))
    moved: list[tuple[pathlib.Path, pathlib.Path]] = []
    try:
        for source, place in zip(
            _places(staged, name), _places(path, name), strict=True
        ):
            if os.path.lexists(place):
                os.replace(place, old / place.name)
                moved.append((old / place.name, place))
            os.replace(source, place)
            moved.append((place, source))
    except OSError:
        for source, place in reversed(moved):
            os.replace(source, place)
        raise


def _places(path: pathlib.Path, name: str) -> list[pathlib.Path]:
    """Returns the files, or the folder, that an artifact consists of."""
    if name == "tf_saved_model":
        return [path]
    places = [path, certificate_path(path, name)]
    if name == "openvino":
        places.append(path.with_suffix(".bin"))
    return places
