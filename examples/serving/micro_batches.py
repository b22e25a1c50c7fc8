"""Requests of many clients, run as batches."""

import asyncio

import numpy as np


class Overloaded(Exception):
    """More inputs wait than the service takes."""


class MicroBatches:
    """Joins what arrives while a batch is run to the next one.

    Nobody waits for a batch to fill: under light load each request is run at
    once, under heavy load batches grow by themselves.

    Args:
        run: Function of an array of inputs to a dict of arrays, called in a
            thread.
        largest: Positive integer. Inputs of a batch.
        waiting: Positive integer. Inputs that may wait before requests are
            refused.
    """

    def __init__(self, run, largest=256, waiting=4096):
        self.run, self.largest, self.most = run, largest, waiting
        self.batches = self.inputs = 0
        self._queue = asyncio.Queue()
        self._waiting = 0

    async def submit(self, inputs):
        """Returns the outputs of these inputs, as soon as they are there."""
        if self._waiting + len(inputs) > self.most:
            raise Overloaded
        self._waiting += len(inputs)
        answer = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((inputs, answer))
        return await answer

    async def serve(self):
        """Runs batches until it is cancelled."""
        while True:
            requests = [await self._queue.get()]
            size = len(requests[0][0])
            while not self._queue.empty() and size < self.largest:
                requests.append(self._queue.get_nowait())
                size += len(requests[-1][0])
            self._waiting -= size
            await self._answer(requests)

    async def _answer(self, requests):
        parts = [inputs for inputs, _ in requests]
        try:
            outputs = await asyncio.to_thread(self.run, np.concatenate(parts))
        except Exception as error:  # it is the answer of each of them
            for _, answer in requests:
                if not answer.done():
                    answer.set_exception(error)
            return
        self.batches += 1
        begin = 0
        for inputs, answer in requests:
            part = slice(begin, begin + len(inputs))
            begin = part.stop
            self.inputs += len(inputs)
            # Whoever went away in the meantime has cancelled it.
            if not answer.done():
                answer.set_result(
                    {name: array[part] for name, array in outputs.items()}
                )
