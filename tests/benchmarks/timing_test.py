import os
import platform
import subprocess
import sys
from unittest import mock

import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import BENCHMARKS
from tests.load_script import load_benchmark
from tests.marks import on_pytorch_alone

# Prints how many pages the system clears for four large arrays, before memory
# is kept and after.
PROGRAM = """
import resource
import sys

import numpy as np

sys.path.insert(0, sys.argv[1])
import timing


def count():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(2**23)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


count()
first = count()
assert timing.keep_memory()
count()
print(first, count())
"""


class KeepMemoryTest(LipschitzTestCase):
    @pytest.mark.slow
    @on_pytorch_alone
    def test_freed_memory_is_used_again(self):
        if platform.libc_ver()[0] != "glibc":
            self.skipTest("The allocator is that of glibc.")
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(BENCHMARKS)],
            stdout=subprocess.PIPE,
            env={
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))
            },
            check=True,
            text=True,
        )
        before, after = map(int, done.stdout.split())
        self.assertLess(after, before / 4)

    def test_other_allocators_are_left_alone(self):
        timing = load_benchmark("timing")
        for error in (OSError, AttributeError):
            with mock.patch.object(timing.ctypes, "CDLL", side_effect=error):
                self.assertFalse(timing.keep_memory())
