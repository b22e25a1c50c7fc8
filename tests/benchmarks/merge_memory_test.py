import contextlib
import io

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_benchmark
from tests.marks import on_pytorch_alone

pytestmark = on_pytorch_alone


class MergeMemoryTest(LipschitzTestCase):
    def test_merge_holds_the_shards_and_the_whole_and_nothing_else(self):
        script = load_benchmark("merge_memory")
        folder = self.temporary_path("shards").parent
        arrays, peak = script.measure_merge(folder, 100_000)
        # Eight bytes for each of three numbers, 4 margins, 10 logits, an error.
        self.assertEqual(arrays, 100_000 * 8 * (3 + 4 + 10 + 1))
        self.assertGreater(peak, 2 * arrays)
        self.assertLess(peak, 2.1 * arrays)

    def test_short_run_prints_the_ratio(self):
        script, out = load_benchmark("merge_memory"), io.StringIO()
        with contextlib.redirect_stdout(out):
            script.main(["--smoke"])
        self.assertRegex(
            out.getvalue(), r"20000 inputs: arrays of 2.7 MiB.* 2\.\d+ times"
        )
