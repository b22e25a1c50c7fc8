"""Builds random networks for a while, and attacks what is certified of them.

    python -m tests.random_networks.campaign --minutes 30

prints what was checked, and exits with 1 where a promise is broken; `--seed`
runs a single network again.
"""

import argparse
import sys
import time
import traceback

import keras
import numpy as np

from tests.random_networks.checks import BrokenPromiseError
from tests.random_networks.checks import NetworkChecks
from tests.random_networks.checks import Tally
from tests.random_networks.draws import SeededDraws
from tests.random_networks.networks import Network


def check_seed(seed, tally, samples):
    """Runs all checks on the network of a seed."""
    keras.utils.set_random_seed(seed % 2**32)
    draws = SeededDraws(seed)
    network = Network(draws)
    if not network.runs:
        return
    checks = NetworkChecks(
        network.model,
        np.random.default_rng(seed),
        tally,
        samples,
        name=f"seed {seed}: {network}",
    )
    try:
        # What takes long, of some.
        checks.run(evaluates=seed % 20 == 0, exports=seed % 50 == 1)
    except BrokenPromiseError as error:
        error.add_note(f"seed {seed}: {network}")
        raise


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--samples", type=int, default=512)
    arguments = parser.parse_args()
    tally, broken = Tally(), 0
    if arguments.seed is not None:
        check_seed(arguments.seed, tally, arguments.samples)
        print(tally)
        return 0
    seed = arguments.first_seed
    end = time.monotonic() + 60 * arguments.minutes
    while time.monotonic() < end:
        try:
            check_seed(seed, tally, arguments.samples)
        except Exception:
            # Whatever stops a check is shown, and the campaign goes on.
            traceback.print_exc()
            broken += 1
        seed += 1
        if seed % 50 == 0:
            keras.backend.clear_session()
    print(
        f"{keras.backend.backend()}: {tally.networks} networks, "
        f"{tally.refused} refused, {tally.bounds} bounds and "
        f"{tally.contractions} contractions checked, "
        f"{tally.copies} stock forms and {tally.artifacts} artifacts "
        f"compared, {tally.certificates} certificates attacked, {broken} broken"
    )
    for reason, names in sorted(tally.reasons.items()):
        print(f"  refused {len(names)}: {reason!r}, first of {names[0]}")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
