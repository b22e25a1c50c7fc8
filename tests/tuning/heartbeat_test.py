import threading

import grpc
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tuning.heartbeat import Heartbeat

pytestmark = pytest.mark.slow


class HeartbeatTest(LipschitzTestCase):
    def test_it_beats_until_the_block_ends_and_outlives_a_lost_connection(self):
        enough = threading.Event()
        beats = []

        def beat():
            beats.append(len(beats))
            if len(beats) == 1:
                raise grpc.RpcError
            if len(beats) == 3:
                enough.set()

        heartbeat = Heartbeat(beat, 0.001)
        with heartbeat:
            self.assertTrue(enough.wait(30))
        heartbeat._thread.join(30)
        self.assertFalse(heartbeat._thread.is_alive())
