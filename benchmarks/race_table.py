"""Formats results of `benchmarks/race.py` as a table."""

import statistics

import race_peers

# Certified radii. The table contains the last one.
EPSILONS = (0.1, 0.5, 1.58)

COLUMNS = {
    "seconds": ("s / epoch", "{:.2f}"),
    "ratio": ("ratio", "{:.2f}"),
    "first_step": ("first step, s", "{:.1f}"),
    "memory": ("memory, MiB", "{:.0f}"),
    "clean": ("clean, %", "{:.2f}"),
    "certified": (f"certified at {EPSILONS[-1]}, %", "{:.2f}"),
    "bound": ("proven bound", "{:.6f}"),
}


def summarize(results):
    """Adds medians and ratios to the results of one block."""
    for result in results:
        if result["obstacle"] is None:
            result["seconds"] = statistics.median(result["epochs"])
            result["memory"] -= result.pop("memory_before")
            accuracies = result["certified_accuracies"]
            result["certified"] = accuracies[str(EPSILONS[-1])]
    done = [result for result in results if result["obstacle"] is None]
    peers = [r for r in done if r["name"] in race_peers.PACKAGES]
    for result in done:
        reference = (peers or done)[0]
        result["ratio"] = result["seconds"] / reference["seconds"]
        result["reference"] = reference["name"]


def format_table(results, before=()):
    """Returns a Markdown table, with the seconds of an earlier run if given."""
    earlier = {(row["block"], row["name"]): row for row in before}
    header = ["block", "library", *(label for label, _ in COLUMNS.values())]
    if before:
        header.insert(3, "before")
    rows = [header, ["---"] * len(header)]
    for result in results:
        row = [result["block"], result["name"]]
        if result["obstacle"] is None:
            row += [
                style.format(result[name])
                for name, (_, style) in COLUMNS.items()
            ]
        else:
            row += [result["obstacle"]] + ["–"] * (len(COLUMNS) - 1)
        if before:
            old = earlier.get((result["block"], result["name"]), {})
            seconds = old.get("seconds")
            row.insert(3, "–" if seconds is None else f"{seconds:.2f}")
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
