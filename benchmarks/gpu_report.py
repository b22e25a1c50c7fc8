"""Measures the cost of this library on a GPU with JAX, in ten minutes.

    python benchmarks/gpu_report.py --output gpu_report.json

measures four things: convolutions compared with the plain convolution at 32 x
32 x 64, 16 x 16 x 256 and 8 x 8 x 512; the compilation and the steps of the
applications; a network of 100, 300 and 1000 blocks; and the time of proofs on
the host and of estimates on the device. `benchmarks/gpu_rows.py` describes the
measurements. Only Keras and JAX are needed.

As soon as a row is measured, it is printed and the whole JSON file is replaced.
`--minutes` limits the total time. The sections take turns, so that the limit
cuts off the end of each section. A row that fails, or takes longer than
`--row-seconds`, reports this, and the next row starts. If the script is run
again with the same output, it measures only missing and failed rows.
"""

import argparse
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time

ROWS = pathlib.Path(__file__).with_name("gpu_rows.py")
SECTIONS = ("layers", "applications", "depth", "audits")


class Report:
    """The rows measured so far, in a file.

    Args:
        path: Path of the JSON file, or `None`.
    """

    def __init__(self, path):
        self.path = path
        self.head, self.rows = None, {}
        if path is not None and path.exists():
            found = json.loads(path.read_text())
            self.head, self.rows = found["head"], found["rows"]

    @property
    def done(self):
        """The keys of the rows that were measured without a failure."""
        return [key for key, row in self.rows.items() if "failed" not in row]

    def check(self, head):
        """Rejects rows from another device or other versions."""
        if self.head not in (None, head):
            raise SystemExit(
                f"{self.path} holds a run on {self.head}, and this one is on "
                f"{head}. Pass another --output, or remove it."
            )
        self.head = head

    def add(self, key, row):
        """Adds a row, prints it and replaces the file."""
        self.rows[key] = row
        print(f"{row['section']}: {key}: {format_values(row)}", flush=True)
        if self.path is None:
            return
        content = json.dumps({"head": self.head, "rows": self.rows}, indent=1)
        descriptor, name = tempfile.mkstemp(dir=self.path.parent)
        with os.fdopen(descriptor, "w") as file:
            file.write(content + "\n")
        os.chmod(name, 0o644)
        os.replace(name, self.path)


class Child:
    """The process that runs the measurements.

    Args:
        arguments: List of the arguments of the process.
    """

    def __init__(self, arguments):
        environment = {**os.environ, "KERAS_BACKEND": "jax"}
        if arguments[0] == "smoke":
            # For small rows, compilation takes most of the time.
            flags = "--xla_backend_optimization_level=0"
            environment.setdefault("XLA_FLAGS", flags)
        self.process = subprocess.Popen(
            [sys.executable, str(ROWS), *arguments],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.messages = queue.Queue()
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self):
        for line in self.process.stdout:
            self.messages.put(json.loads(line))
        self.messages.put(None)

    def wait(self, seconds):
        """Returns the next message, `None` at the end.

        Raises:
            queue.Empty: If no message arrives in time.
        """
        return self.messages.get(timeout=max(seconds, 0.01))

    def stop(self):
        """Ends the process."""
        self.process.kill()
        self.process.wait()
        self.listener.join()
        self.process.stdout.close()


def run(report, smoke, deadline, row_seconds):
    """Measures until all rows are done or no time is left.

    Args:
        report: A `Report`.
        smoke: Boolean. Whether to use small sizes.
        deadline: Number. The end of the run, in the time of `time.monotonic`.
        row_seconds: Number. Time limit of a row in seconds.

    Returns:
        Boolean. Whether all rows are done.
    """
    skipped = set(report.done)
    while True:
        child = Child(["smoke" if smoke else "full", *sorted(skipped)])
        try:
            key, reason = follow(child, report, deadline, row_seconds)
        finally:
            child.stop()
        if reason is None:
            return True
        if key is None or time.monotonic() >= deadline:
            print(reason, flush=True)
            return False
        key, section = key
        report.add(key, {"section": section, "failed": reason})
        skipped.update(report.rows)


def follow(child, report, deadline, row_seconds):
    """Stores the rows that a child process measures.

    Returns:
        The key and the section of the row that stopped the process, if there is
        one, and the reason. Both are `None` if all rows are done.
    """
    current = None
    while True:
        left = deadline - time.monotonic()
        try:
            message = child.wait(min(left, row_seconds))
        except queue.Empty:
            if time.monotonic() >= deadline:
                return current, "no time was left"
            return current, f"took longer than {row_seconds} s"
        if message is None:
            return current, "its process ended"
        if "head" in message:
            report.check(message["head"])
        elif "begin" in message:
            current = message["begin"], message["section"]
        elif "end" in message:
            report.add(message.pop("end"), message)
            current = None
        else:
            return None, None


def format_values(row):
    """Returns the values of a row as one line."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
        if name != "section" and value is not None
    )


def format_tables(report):
    """Returns a Markdown table for each section."""
    parts = [report.head or "nothing was measured"]
    for section in SECTIONS:
        rows = {
            key: row
            for key, row in report.rows.items()
            if row["section"] == section
        }
        names = []
        for row in rows.values():
            names += [name for name in row if name not in ("section", *names)]
        if not rows:
            continue
        lines = [[section, *names], ["---"] * (1 + len(names))]
        lines += [
            [key, *(_format_cell(row.get(name)) for name in names)]
            for key, row in rows.items()
        ]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts)


def _format_cell(value):
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main(arguments=None):
    """Measures the missing rows and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--row-seconds", type=float, default=90.0)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="measure only a few small rows, on any device",
    )
    arguments = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * arguments.minutes
    report = Report(arguments.output)
    complete = run(report, arguments.smoke, deadline, arguments.row_seconds)
    print("\n" + format_tables(report))
    if not complete:
        print("\nSome rows are missing. Run the script again to measure them.")


if __name__ == "__main__":
    main()
