import errno

from keras_lip.files import replace_file
from keras_lip.files import write_text
from tests.lipschitz_test_case import LipschitzTestCase


class FilesTest(LipschitzTestCase):
    def test_file_is_replaced_by_a_whole_one_alone(self):
        path = self.temporary_path("model.keras")
        path.write_text("old")

        def fail(partial):
            self.assertEqual(partial.suffix, ".keras")
            partial.write_text("ne")
            raise OSError(errno.ENOSPC, "No space left on device")

        with self.assertRaisesRegex(OSError, "No space"):
            replace_file(path, fail)
        self.assertEqual(path.read_text(), "old")
        self.assertEqual(list(path.parent.iterdir()), [path])
        replace_file(path, lambda partial: partial.write_text("new"))
        self.assertEqual(path.read_text(), "new")
        self.assertEqual(list(path.parent.iterdir()), [path])
        self.assertEqual(path.stat().st_mode & 0o777, 0o644)

    def test_text_is_written_whole_in_utf8(self):
        path = self.temporary_path("table.md")
        write_text(path, "old")
        write_text(str(path), "√2 ≤ L\n")
        self.assertEqual(path.read_bytes(), "√2 ≤ L\n".encode())
        self.assertEqual(list(path.parent.iterdir()), [path])
        # What cannot be encoded leaves the older file.
        with self.assertRaises(UnicodeEncodeError):
            write_text(path, "\ud800")
        self.assertEqual(path.read_bytes(), "√2 ≤ L\n".encode())
        with self.assertRaisesRegex(ValueError, "cannot be written to"):
            write_text(path.parent / "none" / "table.md", "new")
