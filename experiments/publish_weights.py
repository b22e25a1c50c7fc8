"""# Put the weights of a run into the package

    python experiments/publish_weights.py RUN --name NAME --description TEXT

writes the weights of a run of `experiments/train.py`, such as
`runs/fc3-small-mnist`, to the folder `weights` of `keras_lip.applications`,
beside them the report without single radii, and adds them, with their digest
and what was certified, to `index.json`. The network of the recipe must be that
of the application, without preprocessing.
"""

import argparse
import hashlib
import json
import pathlib

import keras
from recipes import load_recipe

import keras_lip as kl
from keras_lip.files import write_json

FOLDER = pathlib.Path(kl.applications.__file__).with_name("weights")
LARGEST = 1_000_000


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Publish weights.")
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--folder", type=pathlib.Path, default=FOLDER)
    parser.add_argument(
        "--description",
        required=True,
        help="what the network is and what it is meant for, for its card",
    )
    parser.add_argument("--license", default="Apache-2.0")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Writes the weights and their entry."""
    arguments = parse_arguments(arguments)
    result = json.loads((arguments.run / "result.json").read_text())
    recipe = load_recipe(result["recipe"], result["dataset"])
    classifier = keras.saving.load_model(arguments.run / "model.keras")
    shape = list(classifier.input_shape[1:])
    needed = {"input_shape": shape, **recipe.arguments}
    make = getattr(kl.applications, recipe.network)
    network = make(**needed)
    network.set_weights(classifier.get_weights())
    arguments.folder.mkdir(parents=True, exist_ok=True)
    stem = f"{recipe.network.lower()}_{arguments.name}"
    path = arguments.folder / f"{stem}.weights.h5"
    network.save_weights(path, overwrite=True)
    content = path.read_bytes()
    if len(content) > LARGEST:
        raise SystemExit(
            f"Weights of the package must take at most {LARGEST} bytes. "
            f"Received: {len(content)} bytes"
        )
    entry = {
        "name": arguments.name,
        "application": recipe.network,
        "arguments": needed,
        "dataset": result["dataset"],
        "recipe": result["recipe"],
        "file": path.name,
        "num_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "lipschitz_bound": kl.bounds.lipschitz_bound(network),
        "accuracy": result["clean"],
        "certified_accuracy": result["certified"],
        "license": arguments.license,
        "description": arguments.description,
    }
    report = json.loads((arguments.run / "report.json").read_text())
    # The numbers of all test images would take more space than the weights.
    samples = report["num_samples"]
    summary = {
        key: value
        for key, value in report.items()
        if not isinstance(value, list)
        or (key != "batch_sizes" and len(value) != samples)
    }
    write_json(arguments.folder / f"{stem}.report.json", summary)
    index = arguments.folder / "index.json"
    entries = json.loads(index.read_text()) if index.exists() else []
    key = (entry["application"], entry["name"])
    kept = [e for e in entries if (e["application"], e["name"]) != key]
    write_json(index, [*kept, entry])
    print(f"Written to {path}, {len(content)} bytes")


if __name__ == "__main__":
    main()
