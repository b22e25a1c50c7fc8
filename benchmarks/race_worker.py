"""One contestant of `benchmarks/race.py`, in its own process.

It reads one command per line: `start`, `epoch` and a number, or `finish`. It
answers each command with a line of JSON.
"""

import json
import os
import resource
import sys
import time

import keras
import numpy as np
import race_peers
from timing import read_device_peak

import keras_lip as kl

# As in Li et al. (2019) for MNIST. All use the default epsilon of Keras.
MARGIN = 2.12
LEARNING_RATE = 1e-3
ADAM_EPSILON = 1e-7

# Number of images on which the network and the copy are compared.
NUM_COMPARED = 64


class KerasContestant:
    """Trains this library's network with `fit`.

    Args:
        spec: Dict of settings from `race.py`.
    """

    def __init__(self, spec):
        self.spec = spec
        self.model = kl.applications.SmallConvNet(
            spec["shape"],
            convolution=spec["block"],
            width=spec["width"],
            units=spec["units"],
        )
        self.model.compile(
            keras.optimizers.Adam(LEARNING_RATE, epsilon=ADAM_EPSILON),
            kl.losses.MulticlassHinge(MARGIN),
        )

    def train(self, x, y):
        """Runs a step for each batch, in the order of the images."""
        self.model.fit(
            x, y, batch_size=self.spec["batch_size"], shuffle=False, verbose=0
        )

    def copy(self):
        """Returns the model to certify: a copy of stock layers."""
        return kl.models.materialize(self.model)

    def predict(self, x):
        """Returns the outputs at inference."""
        return self.model.predict(x, verbose=0)


class TorchContestant:
    """Trains another library's network in a plain PyTorch loop.

    Args:
        spec: Dict of settings from `race.py`.
    """

    def __init__(self, spec):
        import torch

        self.spec = spec
        names = ("library", "block", "shape", "width", "units")
        self.network = race_peers.make_network(*(spec[name] for name in names))
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network.to(self.device)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), LEARNING_RATE, eps=ADAM_EPSILON
        )

    def train(self, x, y):
        """Runs a step for each batch, in the order of the images."""
        import torch

        self.network.train()
        images = torch.from_numpy(np.moveaxis(x, -1, 1))
        labels = torch.from_numpy(y)
        size = self.spec["batch_size"]
        for start in range(0, len(x), size):
            batch = images[start : start + size].to(self.device)
            target = labels[start : start + size].to(self.device)
            self.optimizer.zero_grad()
            # PyTorch averages over the classes; the Keras loss class sums.
            loss = race_peers.CLASSES * torch.nn.functional.multi_margin_loss(
                self.network(batch), target, margin=MARGIN
            )
            loss.backward()
            self.optimizer.step()
        loss.item()

    def copy(self):
        """Returns the model to certify: a copy of layers with known bounds."""
        weights = race_peers.read_weights(self.network)
        names = ("library", "block", "shape")
        return race_peers.make_copy(
            *(self.spec[name] for name in names), weights
        )

    def predict(self, x):
        """Returns the outputs at inference."""
        import torch

        self.network.eval()
        images = torch.from_numpy(np.moveaxis(x, -1, 1)).to(self.device)
        with torch.no_grad():
            return self.network(images).cpu().numpy()


def read_memory():
    """Returns the peak memory so far in MiB, of the GPU or the process."""
    device = read_device_peak()
    if device is not None:
        return device / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Worker:
    """Answers the commands.

    Args:
        spec: Dict of settings from `race.py`.
    """

    def __init__(self, spec):
        self.spec = spec
        with np.load(spec["data"]) as arrays:
            self.data = {name: arrays[name] for name in arrays.files}
        self.memory = 0.0

    def start(self):
        """Builds the network and runs the first step, which compiles."""
        own = self.spec["library"] == "keras_lip"
        # This also imports TensorFlow if it is installed.
        keras.utils.set_random_seed(self.spec["seed"])
        self.memory = read_memory()
        began = time.perf_counter()
        contestant = (KerasContestant if own else TorchContestant)(self.spec)
        size = self.spec["batch_size"]
        contestant.train(self.data["x"][:size], self.data["y"][:size])
        self.contestant = contestant
        return {"first_step": time.perf_counter() - began}

    def epoch(self, number):
        """Trains for an epoch of whole batches, in the order shared by all."""
        x, y, size = self.data["x"], self.data["y"], self.spec["batch_size"]
        rng = np.random.default_rng((self.spec["seed"], number))
        order = rng.permutation(len(x))[: len(x) // size * size]
        x, y = x[order], y[order]
        began = time.perf_counter()
        self.contestant.train(x, y)
        return {"epoch": time.perf_counter() - began}

    def finish(self):
        """Writes the copy to certify and compares it with the network."""
        peak = read_memory()
        copy = self.contestant.copy()
        x = self.data["x_test"][:NUM_COMPARED]
        difference = self.contestant.predict(x) - copy.predict(x, verbose=0)
        copy.save(self.spec["copy"])
        return {
            "memory": peak,
            "memory_before": self.memory,
            "copy_differs_by": float(np.abs(difference).max()),
            "parameters": int(self.count_parameters()),
        }

    def count_parameters(self):
        """Returns the number of trained parameters."""
        if isinstance(self.contestant, KerasContestant):
            weights = self.contestant.model.trainable_weights
            return sum(np.prod(weight.shape) for weight in weights)
        weights = self.contestant.network.parameters()
        return sum(weight.numel() for weight in weights)


def main():
    """Runs a worker. Only answers are written to the standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(json.loads(sys.argv[1]))
    for line in sys.stdin:
        command, *arguments = line.split()
        method = {"start": worker.start, "epoch": worker.epoch}
        action = method.get(command, worker.finish)
        answer = action(*map(int, arguments))
        print(json.dumps(answer), file=answers, flush=True)
        if command == "finish":
            return


if __name__ == "__main__":
    main()
