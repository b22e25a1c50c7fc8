import errno

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_experiment


class WholeFilesTest(LipschitzTestCase):
    def test_file_is_replaced_by_a_whole_one_alone(self):
        write_whole = load_experiment("whole_files").write_whole
        path = self.temporary_path("model.keras")
        path.write_text("old")

        def fail(partial):
            partial.write_text("ne")
            raise OSError(errno.ENOSPC, "No space left on device")

        with self.assertRaisesRegex(OSError, "No space"):
            write_whole(path, fail)
        self.assertEqual(path.read_text(), "old")
        self.assertEqual(list(path.parent.iterdir()), [path])
        write_whole(path, lambda partial: partial.write_text("new"))
        self.assertEqual(path.read_text(), "new")
        self.assertEqual(list(path.parent.iterdir()), [path])
