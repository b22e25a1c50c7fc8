import asyncio
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from unittest import mock

import keras
import numpy as np
import onnxruntime
import pytest
from fastapi.testclient import TestClient

import keras_lip as kl
from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import EXAMPLES
from tests.load_script import load_example

pytestmark = pytest.mark.slow


SHAPE = (8, 8, 1)
START = 120  # seconds, on a machine that does other work


def make_classifier():
    """Returns a classifier of images that tells left from right."""
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            kl.layers.OrthogonalDense(8),
            kl.layers.MaxMin(),
            kl.layers.UnitNormDense(3),
        ],
        name="served",
    )
    return model


class ServeTest(LipschitzTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        keras.utils.set_random_seed(1)
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.path = cls.folder / "model.onnx"
        cls.keras_path = cls.folder / "model.keras"
        cls.classifier = make_classifier()
        cls.classifier.save(cls.keras_path)
        with cls.needs_newer_keras():
            kl.models.export(cls.classifier, cls.path, "onnx")

    def setUp(self):
        super().setUp()
        self.serve = load_example("serve")
        self.model = self.serve.ServedModel(self.path)
        self.images = self.rng.uniform(0, 1, (5, *SHAPE)).astype("float32")

    def client(self, attacker=None):
        """Returns a client of a service that runs for the length of a test."""
        client = TestClient(self.serve.make_app(self.model, attacker))
        self.enterContext(client)
        return client

    def certify(self, client, images, path="/certify"):
        return client.post(path, json={"inputs": np.asarray(images).tolist()})

    def test_answers_are_those_of_the_artifact(self):
        client = self.client()
        session = onnxruntime.InferenceSession(self.path)
        names = [output.name for output in session.get_outputs()]
        expected = dict(
            zip(names, session.run(None, {"inputs": self.images}), strict=True)
        )
        answer = self.certify(client, self.images).json()
        self.assertEqual(answer.pop("norm"), "l2")
        self.assertEqual(set(answer), {"label", "radius", "logits"})
        for name, values in answer.items():
            self.assertAllClose(values, expected[name])
        certified = kl.certificates.certified_radius(
            self.classifier, self.images
        )
        self.assertTrue(np.all(np.asarray(answer["radius"]) <= certified))
        self.assertAllClose(answer["radius"], certified, 1e-3)

    def test_health_says_what_is_served_and_done(self):
        client = self.client()
        for count in (2, 3):
            self.certify(client, self.images[:count])
        health = client.get("/healthz").json()
        self.assertEqual(
            {name: health[name] for name in ("status", "attack", "norm")},
            {"status": "ok", "attack": False, "norm": "l2"},
        )
        self.assertEqual(health["input_shape"], list(SHAPE))
        self.assertEqual((health["batches"], health["inputs"]), (2, 5))
        audit = kl.certificates.audit(self.classifier)
        self.assertEqual(health["sha256"], audit.sha256)
        self.assertIn("<canvas", client.get("/").text)

    def test_bad_requests_are_refused_and_others_served(self):
        client = self.client()
        image = self.images[0].tolist()
        # Python's JSON writes NaN, and many others do.
        nan, huge = self.images[:1].tolist(), self.images[:1].tolist()
        nan[0][2][3], huge[0][2][3] = [float("nan")], [1e39]
        for body, status, message in (
            (b"\x89PNG\r\n\x00\xff garbage", 400, "must be JSON"),
            (b"", 400, "must be JSON"),
            (b"[" * 100_000, 400, "must be JSON"),
            (b'{"inputs": ' + b"9" * 5000 + b"}", 400, "must be JSON"),
            (b"[1, 2]", 422, "the key `inputs`"),
            (b'{"inputs": [], "more": 1}', 422, "the key `inputs`"),
            (json.dumps({"inputs": image}), 422, r"shape \[8, 8, 1\]"),
            (json.dumps({"inputs": []}), 422, r"shape \[0\]"),
            (json.dumps({"inputs": 3}), 422, r"shape \[\]"),
            (json.dumps({"inputs": [[1, 2], [3]]}), 422, "different lengths"),
            (json.dumps({"inputs": [["1"]]}), 422, "what is no number"),
            (json.dumps({"inputs": None}), 422, "what is no number"),
            (json.dumps({"inputs": [image] * 1025}), 422, "from 1 to 1024"),
            (json.dumps({"inputs": nan}), 422, "NaN or infinity"),
            (json.dumps({"inputs": huge}), 422, "NaN or infinity"),
            (b" " * (2**23 + 1), 413, "8388608 bytes. Received: 8388609"),
        ):
            answer = client.post("/certify", content=body)
            self.assertEqual(answer.status_code, status, body[:40])
            self.assertRegex(answer.json()["detail"], message)
        self.assertEqual(client.get("/certify").status_code, 405)
        self.assertEqual(self.certify(client, self.images).status_code, 200)

    def test_request_that_never_ends_is_answered(self):
        class Slow:
            async def stream(self):
                yield b"["
                await asyncio.sleep(60)

        self.serve.SECONDS_TO_SEND, before = 0.01, self.serve.SECONDS_TO_SEND
        self.addCleanup(setattr, self.serve, "SECONDS_TO_SEND", before)
        with self.assertRaises(self.serve.fastapi.HTTPException) as raised:
            asyncio.run(self.serve.read_request(Slow(), self.model, 1))
        self.assertEqual(raised.exception.status_code, 408)

    def test_attack_finds_what_the_certificate_allows(self):
        attacker = self.serve.Attacker(self.keras_path, self.model)
        client = self.client(attacker)
        certified = self.certify(client, self.images[:1]).json()
        answer = self.certify(client, self.images[:1], "/attack").json()
        self.assertTrue(answer["found"])
        self.assertNotEqual(answer["label"], certified["label"][0])
        self.assertGreaterEqual(answer["distance"], certified["radius"][0])
        found = np.asarray(answer["input"])
        self.assertAllClose(
            np.linalg.norm(found - self.images[0]), answer["distance"], 1e-5
        )
        again = self.certify(client, found[None]).json()
        self.assertEqual(again["label"], [answer["label"]])
        two = self.certify(client, self.images[:2], "/attack")
        self.assertRegex(two.json()["detail"], "n from 1 to 1")

    def test_nothing_is_attacked_without_a_model(self):
        answer = self.certify(self.client(), self.images[:1], "/attack")
        self.assertEqual(answer.status_code, 404)
        self.assertRegex(answer.json()["detail"], "start with `--attack`")

    def test_attacks_wait_for_one_another_and_no_more_than_some(self):
        entered, leave = threading.Semaphore(0), threading.Event()
        self.addCleanup(leave.set)
        running = []

        class Stuck:
            def find_nearest(self, inputs):
                running.append(1)
                entered.release()
                leave.wait(60)
                running.pop()
                return {"found": len(running) == 0}

        client = self.client(Stuck())
        statuses = []

        def attack():
            answer = self.certify(client, self.images[:1], "/attack")
            statuses.append((answer.status_code, answer.json()))

        most = self.serve.WAITING_ATTACKS
        threads = [threading.Thread(target=attack) for _ in range(most + 1)]
        for thread in threads:
            thread.start()
        entered.acquire(timeout=60)
        # One too many is turned away; the others wait.
        while not statuses:
            time.sleep(0.01)
        self.assertEqual(statuses[0][0], 503)
        leave.set()
        for thread in threads:
            thread.join()
        # None ran beside another.
        self.assertEqual(statuses[1:], [(200, {"found": True})] * most)

    def test_other_artifact_than_the_certified_one_is_refused(self):
        read = load_example("serving.served_model").read_certificate
        with self.assertRaisesRegex(SystemExit, "must be what"):
            read(self.folder / "missing.onnx")
        copy = self.temporary_path("model.onnx")
        sidecar = copy.with_name("model.onnx.json")
        copy.write_bytes(self.path.read_bytes() + b" ")
        shutil.copy(self.path.with_name("model.onnx.json"), sidecar)
        with self.assertRaisesRegex(SystemExit, "digests"):
            read(copy)
        shutil.copy(self.path, copy)
        certificate = json.loads(sidecar.read_text())
        sidecar.write_text(json.dumps({**certificate, "format": "torch"}))
        with self.assertRaisesRegex(SystemExit, "runs ONNX"):
            read(copy)
        for text in ("[]", "{", "{}"):
            sidecar.write_text(text)
            with self.assertRaisesRegex(SystemExit, "no certificate"):
                read(copy)

    def test_other_model_than_the_exported_one_is_not_attacked(self):
        other = self.folder / "other.keras"
        make_classifier().save(other)
        with self.assertRaisesRegex(SystemExit, "hashes differ"):
            self.serve.Attacker(other, self.model)
        other.write_bytes(b"nothing")
        with self.assertRaisesRegex(SystemExit, "no Keras model"):
            self.serve.Attacker(other, self.model)

    def test_server_outlives_bad_clients_and_its_page_draws(self):
        port, server = self.start_server()
        address = f"http://127.0.0.1:{port}"
        for garbage in (b"\x00\xff\xfe garbage \r\n\r\n", b"GET", b""):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(garbage)
        request = urllib.request.Request(
            f"{address}/certify", data=b"1" * 10**8, method="POST"
        )
        with self.assertRaises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request, timeout=60)
        self.assertEqual(raised.exception.code, 413)
        raised.exception.close()
        with urllib.request.urlopen(f"{address}/healthz") as answer:
            self.assertEqual(json.load(answer)["status"], "ok")
        self.assertIsNone(server.poll())
        self.draw(address)

    def test_smoke_run_asks_a_service_once(self):
        with mock.patch("builtins.print") as printed:
            self.serve.main(["--smoke"])
        certified, attacked = (call.args[0] for call in printed.call_args_list)
        number = r"(\d+\.\d+)"
        radius = re.fullmatch(rf"class \d, radius {number}", certified)[1]
        distance = re.fullmatch(rf"class \d at {number}", attacked)[1]
        self.assertBetween(float(radius), 1e-3, float(distance))

    def test_command_line_takes_an_artifact_or_asks_itself(self):
        for arguments in ([], ["model.onnx", "--smoke"]):
            with (
                mock.patch("sys.stderr") as stderr,
                self.assertRaises(SystemExit),
            ):
                self.serve.parse_arguments(arguments)
            written = "".join(
                call.args[0] for call in stderr.write.call_args_list
            )
            self.assertIn("or --smoke alone", written)

    def start_server(self):
        """Starts the service as a user does; returns its port and process."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = open(self.folder / "log", "w")
        self.addCleanup(log.close)
        server = subprocess.Popen(
            [
                *(sys.executable, str(EXAMPLES / "serve.py"), str(self.path)),
                *("--attack", str(self.keras_path), "--port", str(port)),
            ],
            stdout=log,
            stderr=log,
        )
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        end = time.monotonic() + START
        while time.monotonic() < end and server.poll() is None:
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    return port, server
            time.sleep(0.1)
        self.fail((self.folder / "log").read_text())

    def draw(self, address):
        """Draws on the page, and compares what it says with the service."""
        if not (shutil.which("chromedriver") and shutil.which("chromium")):
            self.skipTest("The page is tested where Chromium is installed.")
        from selenium import webdriver
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.support.ui import WebDriverWait

        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in ("headless=new", "no-sandbox", "no-proxy-server"):
            options.add_argument(f"--{argument}")
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        browser = webdriver.Chrome(options, service)
        self.addCleanup(browser.quit)
        browser.get(address)

        def text(name):
            return browser.find_element("id", name).text

        wait = WebDriverWait(browser, START)
        wait.until(lambda _: text("about").startswith("The network"))
        drawing = browser.find_element("id", "drawing")
        actions = ActionChains(browser, duration=10)
        actions.move_to_element_with_offset(drawing, -60, -90)
        actions.click_and_hold().move_by_offset(20, 180).release().perform()
        wait.until(lambda _: "distance" in text("verdict"))
        image = browser.execute_script("return readImage()")
        image = np.reshape(image, (1, *SHAPE)).astype("float32")
        self.assertGreater(image.max(), 0.5)
        outputs = self.model.run(image)
        self.assertEqual(text("class"), str(outputs["label"][0]))
        radius = float(text("radius"))
        self.assertAllClose(radius, outputs["radius"][0], 1e-3)
        self.assertLessEqual(radius, outputs["radius"][0])
        label, distance = (
            element.text
            for element in browser.find_elements("css selector", "#verdict *")
        )
        self.assertNotEqual(label, text("class"))
        self.assertGreaterEqual(float(distance), radius)
        self.assertEqual(text("problem"), "")
        browser.find_element("id", "clear").click()
        self.assertEqual((text("class"), text("verdict")), ("", ""))
        severe = [
            entry["message"]
            for entry in browser.get_log("browser")
            if entry["level"] == "SEVERE"
        ]
        self.assertEqual(severe, [])
