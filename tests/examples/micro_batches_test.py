import asyncio
import threading

import numpy as np
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example

pytestmark = pytest.mark.slow


class MicroBatchesTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.module = load_example("serving.micro_batches")
        self.sizes = []
        self.leave = threading.Event()
        self.addCleanup(self.leave.set)

    def double(self, inputs):
        self.sizes.append(len(inputs))
        self.leave.wait(60)
        if np.isnan(inputs).any():
            raise FloatingPointError("nan")
        return {"doubled": 2 * inputs}

    def run_requests(self, requests, **arguments):
        """Submits all, the first before the others; returns what comes."""

        async def submit_all():
            batches = self.module.MicroBatches(self.double, **arguments)
            serving = asyncio.create_task(batches.serve())
            tasks = [asyncio.create_task(batches.submit(requests[0]))]
            while not self.sizes:
                await asyncio.sleep(0.01)
            for request in requests[1:]:
                tasks.append(asyncio.create_task(batches.submit(request)))
            await asyncio.sleep(0)
            await self.meanwhile(tasks)
            self.leave.set()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            serving.cancel()
            return answers, batches

        return asyncio.run(submit_all())

    async def meanwhile(self, tasks):
        """What happens while the first batch is run."""

    def test_what_arrives_during_a_batch_is_the_next_one(self):
        requests = [np.full((n, 2), float(n)) for n in (1, 2, 3, 4)]
        answers, batches = self.run_requests(requests, largest=5)
        self.assertEqual(self.sizes, [1, 5, 4])
        for request, answer in zip(requests, answers, strict=True):
            self.assertAllClose(answer["doubled"], 2 * request)
        self.assertEqual((batches.batches, batches.inputs), (3, 10))

    def test_error_is_the_answer_of_its_batch_alone(self):
        nan, one = np.full((1, 2), np.nan), np.ones((1, 2))
        answers, _ = self.run_requests([nan, one, one])
        self.assertIsInstance(answers[0], FloatingPointError)
        for answer in answers[1:]:
            self.assertAllClose(answer["doubled"], 2 * one)

    def test_too_many_waiting_inputs_are_turned_away(self):
        one = np.ones((1, 2))
        answers, _ = self.run_requests([one] * 5, waiting=3)
        refused = [isinstance(a, self.module.Overloaded) for a in answers]
        self.assertEqual(refused, [False, False, False, False, True])

    def test_client_that_goes_away_spoils_nothing(self):
        async def leave_one(tasks):
            tasks[1].cancel()

        self.meanwhile = leave_one
        requests = [np.full((1, 2), float(n)) for n in (1, 2, 3)]
        answers, _ = self.run_requests(requests)
        self.assertIsInstance(answers[1], asyncio.CancelledError)
        for index in (0, 2):
            self.assertAllClose(answers[index]["doubled"], 2 * requests[index])
