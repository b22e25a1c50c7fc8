"""Every bound of the theory names what computes it and what tests it."""

import pathlib
import re

from absl.testing import parameterized

from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone

pytestmark = on_pytorch_alone

ROOT = pathlib.Path(__file__).parents[2]
THEORY = ROOT / "docs" / "theory"
PAGES = sorted(
    path.stem for path in THEORY.glob("*.md") if path.stem != "index"
)

CODE = re.compile(r"`([^`\n]+)`")
# A file or a folder.
PATH = re.compile(r"(?:[\w.]+/)*\w+\.py|(?:\w+/)+\w+")
COMPUTED, TESTED = "*Computed by*", "*Tested by*"
FOLDERS = {
    COMPUTED: ("keras_lip", "examples"),
    TESTED: ("tests",),
}


def split_sections(text):
    """Returns the titles and texts of the sections of a page.

    A page without sections is a section.
    """
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    title = parts[0].partition("\n")[0].removeprefix("# ")
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    return sections or {title: parts[0]}


def split_sources(text):
    """Returns the texts after `*Computed by*` and after `*Tested by*`.

    A line may end within the marks.
    """
    text = re.sub(r"\*(Computed|Tested)\s+by\*", r"*\1 by*", text)
    computed, tested = [], []
    for part in text.split(COMPUTED)[1:]:
        sources, mark, tests = part.partition(TESTED)
        computed.append(sources)
        if mark:
            # Until the paragraph ends.
            tested.append(tests.partition("\n\n")[0])
    return computed, tested


def find_files(text):
    """Returns the files and folders that a text names.

    A name without a folder is in the folder of the one before.
    """
    found, folder = [], pathlib.PurePosixPath()
    for name in CODE.findall(text):
        if PATH.fullmatch(name):
            path = pathlib.PurePosixPath(name)
            path = path if len(path.parts) > 1 else folder / path
            folder = path.parent
            found.append(path)
    return found


class TheoryPagesTest(LipschitzTestCase):
    def test_every_page_is_in_the_table_of_contents(self):
        text = (THEORY / "index.md").read_text("utf-8")
        (tree,) = re.findall(r"```\{toctree\}.*?\n\n(.*?)```", text, re.DOTALL)
        self.assertEqual(sorted(tree.split()), PAGES)

    @parameterized.parameters(*PAGES)
    def test_sections_name_files_and_tests_that_exist(self, page):
        text = (THEORY / f"{page}.md").read_text("utf-8")
        for title, section in split_sections(text).items():
            if title == "Sources":
                continue
            computed, tested = split_sources(section)
            self.assertTrue(computed, f"'{title}' is computed nowhere.")
            self.assertLen(tested, len(computed), f"'{title}' is not tested.")
            for mark, texts in ((COMPUTED, computed), (TESTED, tested)):
                for each in texts:
                    files = find_files(each)
                    self.assertTrue(files, f"No file in '{title}': {each}")
                    for path in files:
                        self.assertIn(path.parts[0], FOLDERS[mark], str(path))
                        self.assertTrue((ROOT / path).exists(), str(path))
            for each in computed + tested:
                self.check_names(each)

    def check_names(self, text):
        """Checks that functions, classes and tests are in the named files.

        Functions and classes follow their file in brackets.
        """
        content = "".join(
            (ROOT / path).read_text("utf-8")
            for path in find_files(text)
            if path.suffix == ".py"
        )
        names = re.findall(r"`(test_\w+)`", text)
        for listed in re.findall(r"\.py`\s+\(([`\w,\s]+)\)", text):
            names += CODE.findall(listed)
        for name in names:
            found = re.search(rf"(?:def|class) {name}\b", content)
            self.assertIsNotNone(found, f"`{name}` is in no named file.")

    def test_names_are_resolved(self):
        text = (
            "Text.\n\n*Computed by* `keras_lip/a/b.py` (`C`), `d.py`. *Tested\n"
            "by* `tests/a_test.py`: `test_b`;\n`b_test.py`.\n\n`not/this.py`"
        )
        (computed,), (tested,) = split_sources(text)
        self.assertEqual(
            list(map(str, find_files(computed))),
            ["keras_lip/a/b.py", "keras_lip/a/d.py"],
        )
        self.assertEqual(
            list(map(str, find_files(tested))),
            ["tests/a_test.py", "tests/b_test.py"],
        )
