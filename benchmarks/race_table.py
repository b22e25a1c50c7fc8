"""Formats results of `benchmarks/race.py` as a table and as text."""

import itertools
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

# Less time and memory are better, and higher accuracies are better.
BETTER = {"seconds": -1, "memory": -1, "clean": 1, "certified": 1}


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


def compare(results):
    """Lists where this library is ahead of each peer, behind it, or level."""
    done = [result for result in results if result["obstacle"] is None]
    lines = []
    for own, peer in itertools.product(done, done):
        if own["block"] != peer["block"] or own["name"] in race_peers.PACKAGES:
            continue
        if peer["name"] in race_peers.PACKAGES:
            said = _compare_two(own, peer)
            lines.append(
                f"- {own['block']}, {own['name']} and {peer['name']}: {said}"
            )
    return "\n".join(lines)


def _compare_two(own, peer):
    found = {"ahead": [], "behind": [], "level": []}
    for name, sign in BETTER.items():
        label, style = COLUMNS[name]
        ours, theirs = style.format(own[name]), style.format(peer[name])
        lead = sign * (own[name] - peer[name])
        key = "ahead" if lead > 0 else "behind"
        if ours == theirs:
            key = "level"
        found[key].append(f"{label} ({ours}, {theirs})")
    return "; ".join(
        f"{key} in {', '.join(parts)}" for key, parts in found.items() if parts
    )


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
