"""What load the service of `examples/serve.py` bears, measured by Locust.

    python examples/serve.py digits.onnx
    locust -f benchmarks/serving.py --headless -u 8 -t 60s -H http://127.0.0.1:8000

Each of the users sends one random input after another and reads its answer.
Locust prints requests, failures, throughput and percentiles of the time to the
answer; an answer that is no certificate counts as a failure.
"""

import random

import locust


class Client(locust.FastHttpUser):
    """Somebody who has inputs certified, one after another."""

    def on_start(self):
        """Asks what inputs are taken."""
        shape = self.client.get("/healthz").json()["input_shape"]
        self.inputs = [make_input(shape) for _ in range(16)]

    @locust.task
    def certify(self):
        """Has one input certified, and looks at the answer."""
        body = {"inputs": [random.choice(self.inputs)]}
        with self.client.post(
            "/certify", json=body, catch_response=True
        ) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif not response.json()["radius"][0] >= 0:
                response.failure("no certified radius")


def make_input(shape):
    """Returns nested lists of random numbers of a shape."""
    if not shape:
        return round(random.random(), 4)
    return [make_input(shape[1:]) for _ in range(shape[0])]
