"""Measures how much load the service of `examples/serve.py` can handle.

    python examples/serve.py digits.onnx
    locust -f benchmarks/serving.py --headless -u 8 -t 60s -H http://127.0.0.1:8000

Each user sends one random input after another and checks the answer. Locust
prints the number of requests and failures, the throughput, and percentiles of
the response time. An answer without a certified radius counts as a failure.
"""

import random

import locust


class Client(locust.FastHttpUser):
    """A user who sends one input after another to be certified."""

    def on_start(self):
        """Reads the shape of inputs from the service."""
        shape = self.client.get("/healthz").json()["input_shape"]
        self.inputs = [make_input(shape) for _ in range(16)]

    @locust.task
    def certify(self):
        """Sends an input and checks the answer."""
        body = {"inputs": [random.choice(self.inputs)]}
        with self.client.post(
            "/certify", json=body, catch_response=True
        ) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif not response.json()["radius"][0] >= 0:
                response.failure("no certified radius")


def make_input(shape):
    """Returns random numbers as nested lists of the given shape."""
    if not shape:
        return round(random.random(), 4)
    return [make_input(shape[1:]) for _ in range(shape[0])]
