"""How much memory a merge of certification reports takes.

    python benchmarks/merge_memory.py
    python benchmarks/merge_memory.py --smoke

writes the shards of a report of a million inputs with 10 classes and three
epsilons, of random numbers, and merges them from their files. It prints the
size of all arrays of the merged report, and the peak of the memory that Python
and NumPy allocate meanwhile, as `tracemalloc` counts it.
"""

import argparse
import gc
import pathlib
import tempfile
import tracemalloc

import numpy as np

from keras_lip.certificates import CertificationReport
from keras_lip.certificates.reports.audit_report import AuditReport
from keras_lip.certificates.reports.report_files import ARRAYS

SHARDS, BATCH_SIZE, CLASSES = 10, 256, 10
EPSILONS = (0.1, 0.2, 0.3)


def write_shards(folder, samples):
    """Writes the shards of a report, and returns their paths."""
    rng = np.random.default_rng(0)
    sizes = [
        min(BATCH_SIZE, samples - start)
        for start in range(0, samples, BATCH_SIZE)
    ]
    return [
        make_shard(rng, index, sizes[index::SHARDS], samples).save(
            folder / f"shard-{index}.npz"
        )
        for index in range(SHARDS)
    ]


def make_shard(rng, index, sizes, samples):
    """Returns a report of random numbers, with all arrays that one may have."""
    size = sum(sizes)
    return CertificationReport(
        model_name="model",
        lipschitz_bound=1.0,
        method="margin",
        epsilons=EPSILONS,
        radius=rng.random(size),
        prediction=rng.integers(CLASSES, size=size),
        label=rng.integers(CLASSES, size=size),
        # Margins fall with the radius.
        worst_margin=-np.sort(-rng.random((size, 1 + len(EPSILONS)))),
        logits=rng.random((size, CLASSES)),
        margin_error=rng.random(size),
        audit=AuditReport("model", "l2", 1.0, (), (784,), "0" * 64, None),
        shard=(index, SHARDS),
        batch_sizes=tuple(sizes),
        batch_size=BATCH_SIZE,
        num_total=samples,
    )


def measure_merge(folder, samples):
    """Returns the bytes of all arrays of the whole, and of the peak."""
    paths = write_shards(folder, samples)
    gc.collect()
    tracemalloc.start()
    try:
        report = CertificationReport.merge(map(CertificationReport.load, paths))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return sum(getattr(report, name).nbytes for name in ARRAYS), peak


def main(argv=None):
    """Prints the measurement."""
    parser = argparse.ArgumentParser(description="Memory of a merge.")
    parser.add_argument("--smoke", action="store_true", help="fewer inputs")
    settings = parser.parse_args(argv)
    samples = 20_000 if settings.smoke else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        arrays, peak = measure_merge(pathlib.Path(folder), samples)
    print(
        f"{samples} inputs: arrays of {arrays / 2**20:.1f} MiB, peak of "
        f"{peak / 2**20:.1f} MiB, {peak / arrays:.3f} times as much"
    )


if __name__ == "__main__":
    main()
