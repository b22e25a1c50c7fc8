"""# Serve a certified classifier over HTTP

    python examples/serve.py digits.onnx --attack quickstart/model.keras
    python examples/serve.py --smoke     # a network of its own, asked once

serves a model that `keras_lip.models.export` wrote, with

- `POST /certify`: `{"inputs": [...]}` to `label`, certified `radius` and
  `logits` of each. Requests of many clients are run as batches,
- `POST /attack`: the nearest image of another class that an attack finds, on
  the Keras model of `--attack`, where one is given,
- `GET /healthz`: that it runs, what it serves and how much it has done,
- `GET /`: a page on which one draws a digit and sees all of this.

Classes and radii come from ONNX Runtime and the certificate inside of the
model; Keras is loaded for attacks alone. What is no batch of finite numbers of
the right shape is answered by an error of the client's, 4xx, that says what was
expected; where more waits than can be run, by 503.

The radius is that of the input as it is rounded to single precision.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import pathlib
import socket
import tempfile
import threading

import fastapi
import uvicorn
from fastapi.responses import HTMLResponse
from serving.attacker import Attacker
from serving.micro_batches import MicroBatches
from serving.micro_batches import Overloaded
from serving.served_model import ServedModel

PAGE = pathlib.Path(__file__).parent / "serving" / "page.html"

# What one client may ask for.
MAX_BYTES = 8 * 2**20
MAX_INPUTS = 1024
SECONDS_TO_SEND = 20
WAITING_ATTACKS = 4

BUSY = fastapi.HTTPException(
    503, "Too many requests wait. Try again later.", {"Retry-After": "1"}
)


async def read_request(request, model, most):
    """Returns the inputs of a request, or raises what answers it."""
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(SECONDS_TO_SEND):
            # A body that is too large is read to its end, and forgotten:
            # a client that still sends would not see the answer.
            async for chunk in request.stream():
                size += len(chunk)
                if size <= MAX_BYTES:
                    body += chunk
    except TimeoutError:
        raise fastapi.HTTPException(
            408, f"A request must be sent in {SECONDS_TO_SEND} seconds."
        ) from None
    if size > MAX_BYTES:
        raise fastapi.HTTPException(
            413, f"A request may have {MAX_BYTES} bytes. Received: {size}"
        )
    try:
        return await asyncio.to_thread(parse_inputs, body, model, most)
    except ValueError as error:
        raise fastapi.HTTPException(422, str(error)) from None


def parse_inputs(body, model, most):
    """Returns the inputs in a body, or raises what is wrong with it."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise fastapi.HTTPException(
            400, 'The body must be JSON: {"inputs": [...]}'
        ) from None
    if not isinstance(values, dict) or set(values) != {"inputs"}:
        raise ValueError("The body must be an object with the key `inputs`.")
    return model.read_inputs(values["inputs"], most)


"""
## The service
"""


def make_app(model, attacker=None):
    """Returns the service of a `ServedModel`.

    Args:
        model: `ServedModel`.
        attacker: `Attacker` or `None`.
    """
    batches = MicroBatches(model.run)
    attacking = asyncio.Semaphore(1)
    waiting_attacks = 0

    @contextlib.asynccontextmanager
    async def lifespan(app):
        task = asyncio.create_task(batches.serve())
        yield
        task.cancel()

    app = fastapi.FastAPI(title="Certified classification", lifespan=lifespan)

    @app.get("/", response_class=HTMLResponse)
    def page():
        return PAGE.read_text()

    @app.get("/healthz")
    def healthz():
        certificate = model.certificate
        return {
            "status": "ok",
            "input_shape": model.input_shape,
            "norm": certificate["norm"],
            "lipschitz_bound": certificate["lipschitz_bound"],
            "sha256": certificate["sha256"],
            "attack": attacker is not None,
            "batches": batches.batches,
            "inputs": batches.inputs,
        }

    @app.post("/certify")
    async def certify(request: fastapi.Request):
        inputs = await read_request(request, model, MAX_INPUTS)
        try:
            outputs = await batches.submit(inputs)
        except Overloaded:
            raise BUSY from None
        return {
            "norm": model.certificate["norm"],
            **{name: array.tolist() for name, array in outputs.items()},
        }

    @app.post("/attack")
    async def attack(request: fastapi.Request):
        nonlocal waiting_attacks
        if attacker is None:
            raise fastapi.HTTPException(
                404, "No model to attack is served: start with `--attack`."
            )
        inputs = await read_request(request, model, most=1)
        if waiting_attacks >= WAITING_ATTACKS:
            raise BUSY
        waiting_attacks += 1
        try:
            async with attacking:
                return await asyncio.to_thread(attacker.find_nearest, inputs)
        finally:
            waiting_attacks -= 1

    return app


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="Serve a certified classifier over HTTP."
    )
    parser.add_argument(
        "artifact",
        type=pathlib.Path,
        nargs="?",
        help="the .onnx file of an export",
    )
    parser.add_argument(
        "--attack",
        type=pathlib.Path,
        metavar="MODEL",
        help="the .keras file of the same model, to attack on the page",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=1, help="of a batch")
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="serve an untrained network, ask it once, and stop",
    )
    parsed = parser.parse_args(arguments)
    if parsed.smoke == (parsed.artifact is not None):
        parser.error("Pass the .onnx file of an export, or --smoke alone.")
    return parsed


"""
## A first request

`--smoke` needs no files: it exports a small network, serves it on a free port
and asks for the class and the radius of one image, and for an attack on it.
"""


def smoke():
    """Serves an untrained network, and prints what it answers."""
    # A service itself starts without them.
    import keras

    import keras_lip as kl

    keras.utils.set_random_seed(0)
    network = kl.models.LipschitzSequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            kl.layers.OrthogonalDense(16),
            kl.layers.MaxMin(),
            kl.layers.UnitNormDense(10),
        ]
    )
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        network.save(folder / "model.keras")
        kl.models.export(network, folder / "model.onnx", "onnx")
        model = ServedModel(folder / "model.onnx")
        attacker = Attacker(folder / "model.keras", model)
    image = [[[0.5]] * 8] * 8
    with serve_in_background(make_app(model, attacker)) as port:
        certified = ask(port, "/certify", {"inputs": [image]})
        attacked = ask(port, "/attack", {"inputs": [image]})
    print(f"class {certified['label'][0]}, radius {certified['radius'][0]}")
    if attacked["found"]:
        print(f"class {attacked['label']} at {attacked['distance']}")


@contextlib.contextmanager
def serve_in_background(app):
    """Serves on a free port, which it yields, until the block is left."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def ask(port, path, body):
    """Returns what the service answers to a POST request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", path, json.dumps(body))
        answer = connection.getresponse()
        content = json.load(answer)
    if answer.status != 200:
        raise SystemExit(f"{path} answered {answer.status}: {content}")
    return content


def main(arguments=None):
    """Serves until it is stopped."""
    arguments = parse_arguments(arguments)
    if arguments.smoke:
        smoke()
        return
    model = ServedModel(arguments.artifact, arguments.threads)
    attacker = None
    if arguments.attack:
        attacker = Attacker(arguments.attack, model)
    uvicorn.run(
        make_app(model, attacker),
        host=arguments.host,
        port=arguments.port,
        log_level="warning",
        limit_concurrency=256,
    )


if __name__ == "__main__":
    main()
