"""Where an artifact goes: whole or not at all."""

import os
import pathlib
import tempfile

from keras_lip.models.exporting.formats import FORMATS

# A SavedModel is a folder, with a place for what is not TensorFlow's.
_INSIDE = "assets.extra/certificate.json"


def check_target(path: pathlib.Path, name: str, overwrite: bool) -> None:
    """Refuses a path that an artifact cannot be written to.

    Args:
        path: Where the artifact shall be.
        name: Name of its format.
        overwrite: Boolean. Whether an existing artifact may be replaced.

    Raises:
        ValueError: If the path ends in something else than the format says, is
            in no folder, exists and may not be replaced, or is no artifact.
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
    """Returns where the certificate of an artifact stands.

    In the folder of a SavedModel it is `assets.extra/certificate.json`; any
    other artifact has it beside, under its own name with `.json` added.
    """
    if name == "tf_saved_model":
        return path / _INSIDE
    return path.with_name(path.name + ".json")


def install(staged: pathlib.Path, path: pathlib.Path, name: str) -> None:
    """Moves an artifact to its place, and what was there away.

    Either all of its files are replaced or none is.

    Args:
        staged: Where the artifact is, in a folder on the same disk.
        path: Where it shall be.
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
