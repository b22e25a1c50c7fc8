"""# Certify many images on a Ray cluster

    pip install "keras-lip[torch,ray]"
    python examples/certify_ray.py --smoke
    python examples/certify_ray.py --images 1000000 --workers 1 2

exports a certified network to ONNX, with the radius computed inside, and runs
it over images in Parquet files with Ray Data. Each worker is an actor that
loads the artifact once; neither Keras nor keras_lip is needed there. If an
actor dies, Ray starts another one and repeats its batch. The output is a folder
of Parquet files with `id`, `truth`, `label` and `radius` of each image: its
number, its true label, and what the network says. The script checks that each
image is there once.

The script starts Ray on this machine. On a cluster, start it with `ray start`,
set `RAY_ADDRESS=auto`, and put artifact, images and output where all machines
see them.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import time

import numpy as np

try:
    import onnxruntime
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise SystemExit(
        f'This example needs `{error.name}`: pip install "keras-lip[ray]"'
    ) from error

EPSILON = 0.1
FILES = 16

"""
## The artifact

The exported model takes a batch of images and returns `logits`, `label` and a
certified `radius`. The JSON file beside it is its certificate, with the digest
of the artifact.
"""


def load_digits():
    """Returns images of shape `(1797, 64)` in [0, 1], and their labels."""
    import sklearn.datasets

    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    return (images / 16).astype("float32"), labels


def export_model(path, epochs, seed):
    """Trains a small network on digits, and exports it to ONNX."""
    import keras

    import keras_lip as kl

    keras.utils.set_random_seed(seed)
    x, y = load_digits()
    model = kl.models.LipschitzSequential(
        [
            keras.Input((64,)),
            kl.layers.OrthogonalDense(64),
            kl.layers.MaxMin(),
            kl.layers.UnitNormDense(10),
        ]
    )
    model.compile("adam", kl.losses.MulticlassHKR(10.0, 0.5))
    model.fit(x, y, epochs=epochs, batch_size=64, verbose=0)
    kl.models.export(model, path, "onnx", probes=x[:64], overwrite=True)
    return model


def read_digest(path):
    """Returns the digest of an artifact, from its certificate."""
    sidecar = path.with_name(path.name + ".json")
    return json.loads(sidecar.read_text())["files"][path.name]


"""
## The images

A table has an `id`, the pixels and the true label of each image. Several files
let several workers read at the same time.
"""


def write_images(folder, count):
    """Writes images to Parquet files, digits again and again."""
    x, y = load_digits()
    ids = np.arange(count)
    for number, part in enumerate(np.array_split(ids, FILES)):
        chosen = part % len(x)
        pixels = pa.FixedSizeListArray.from_arrays(
            x[chosen].ravel(), x.shape[1]
        )
        table = pa.table({"id": part, "image": pixels, "truth": y[chosen]})
        pq.write_table(table, folder / f"images_{number:03}.parquet")


"""
## The workers
"""


def start_ray(workers):
    """Starts Ray on this machine, or connects to a cluster."""
    import ray

    if "RAY_ADDRESS" in os.environ:
        # A cluster has the processors that it has.
        ray.init()
    else:
        # The workers, and one for reading and writing.
        ray.init(num_cpus=workers + 1, include_dashboard=False)


class Certify:
    """Runs the artifact on batches, in an actor that loads it once.

    Args:
        path: Path of the artifact.
        digest: SHA-256 digest that its certificate is about.
    """

    def __init__(self, path, digest):
        content = pathlib.Path(path).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(
                f"{path} is not the artifact that its certificate is about. "
                "Export the model again."
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, table):
        pixels = table["image"].combine_chunks().flatten().to_numpy()
        inputs = pixels.reshape(len(table), -1)
        label, radius = self.session.run(
            ["label", "radius"], {"inputs": inputs}
        )
        return pa.table(
            {
                "id": table["id"],
                "truth": table["truth"],
                "label": label.ravel(),
                "radius": radius.ravel(),
            }
        )


def certify(
    images, artifact, output, count, workers, batch_size, actor=Certify
):
    """Certifies all images, and returns the seconds that it takes.

    The output takes its place when it is complete. Until then an older one
    stays there, and nothing is left of a run that fails.
    """
    import ray

    partial = output.with_name(f"partial_{output.name}")
    # A process that was killed may have left one.
    shutil.rmtree(partial, ignore_errors=True)
    start = time.perf_counter()
    try:
        # A block is what one actor takes at a time, and repeats if another
        # died. By default Ray makes blocks of up to 128 MB: here of all files
        # together.
        blocks = ray.data.read_parquet(str(images)).repartition(
            target_num_rows_per_block=batch_size
        )
        blocks.map_batches(
            actor,
            fn_constructor_args=(str(artifact), read_digest(artifact)),
            batch_size=batch_size,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers),
        ).write_parquet(str(partial))
        seconds = time.perf_counter() - start
        check_output(partial, count)
        replace_folder(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return seconds


def replace_folder(folder, target):
    """Moves a folder to a place, and what was there away."""
    old = target.with_name(f"old_{target.name}")
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    folder.rename(target)
    shutil.rmtree(old, ignore_errors=True)


"""
## The output

The files are read one after another, and only the columns that are needed. So
the driver holds one byte an image, and a part of a file.
"""


def read_columns(output, names):
    """Yields arrays of columns, for parts of the output."""
    for path in sorted(output.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=names):
                yield tuple(batch[name].to_numpy() for name in names)


def check_output(output, count):
    """Raises an error unless each image is in the output once."""
    seen, rows = np.zeros(count, bool), 0
    for (ids,) in read_columns(output, ["id"]):
        rows += len(ids)
        seen[ids[(ids >= 0) & (ids < count)]] = True
    missing = count - np.count_nonzero(seen)
    if missing or rows != count:
        raise ValueError(
            f"Each of the {count} images must be in the output once. Received: "
            f"{rows} rows, without {missing} of the images"
        )


def measure(output, count):
    """Returns the accuracy and the certified accuracy of the output."""
    correct = certified = 0
    for truth, label, radius in read_columns(
        output, ["truth", "label", "radius"]
    ):
        correct += np.count_nonzero(truth == label)
        certified += np.count_nonzero((truth == label) & (radius > EPSILON))
    return correct / count, certified / count


def positive(text):
    """Reads a positive integer of the command line."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(
            f"it must be a positive integer. Received: {text}"
        )
    return int(text)


def main(argv=None):
    """Runs the example."""
    parser = argparse.ArgumentParser(description="Certify images with Ray.")
    parser.add_argument("--smoke", action="store_true", help="a short run")
    parser.add_argument("--output", type=pathlib.Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=positive, default=None)
    parser.add_argument("--workers", type=positive, nargs="+", default=None)
    parser.add_argument("--batch-size", type=positive, default=None)
    settings = parser.parse_args(argv)
    count = settings.images or (2000 if settings.smoke else 1_000_000)
    batch_size = settings.batch_size or (256 if settings.smoke else 8192)
    workers = settings.workers or ([2] if settings.smoke else [1, 2])
    try:
        import ray
    except ImportError as error:
        raise SystemExit(
            'This example needs `ray`: pip install "keras-lip[ray]"'
        ) from error
    folder = (settings.output or pathlib.Path("certify_ray")).resolve()
    images, artifact = folder / "images", folder / "digits.onnx"
    images.mkdir(parents=True, exist_ok=True)
    export_model(artifact, 2 if settings.smoke else 20, settings.seed)
    write_images(images, count)
    start_ray(max(workers))
    speeds = {}
    for number in workers:
        seconds = certify(
            images, artifact, folder / "radii", count, number, batch_size
        )
        speeds[number] = count / seconds
        print(f"{number} workers: {speeds[number]:.0f} images per second")
    ray.shutdown()
    accuracy, certified_accuracy = measure(folder / "radii", count)
    results = {
        "images": count,
        "images_per_second": {str(k): round(v) for k, v in speeds.items()},
        "accuracy": accuracy,
        "epsilon": EPSILON,
        "certified_accuracy": certified_accuracy,
    }
    print(json.dumps(results, indent=2))
    (folder / "certify_ray.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
