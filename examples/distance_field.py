"""# A distance field that rays cannot pass

The signed distance to a shape is positive outside, negative inside, and
1-Lipschitz. Sphere tracing (Hart, 1996) finds where a ray meets the shape: it
moves along the ray by the distance, again and again, because no surface is
closer than that. A network that replaces the distance must not overestimate
it, or rays pass through walls. If a network `f` is proven `L`-Lipschitz, then
`|f| / L` is a safe step, however well it was trained. This script

- trains a 1-Lipschitz network, and an ordinary one, on a star,
- traces rays through both fields,
- and looks between the steps of each ray for surfaces that it passed.

It writes `distance_field.json` and `distance_field.png`.

    python examples/distance_field.py          # 2 minutes
    python examples/distance_field.py --smoke  # seconds
"""

import argparse
import json
import math
import pathlib

import keras
import numpy as np

import keras_lip as kl

SIDE = 1.5  # the fields are on the square [-SIDE, SIDE]²

# Rays move by this share of a safe step, so that they end at a distance from
# the surface at which float32 shows the sign of the field.
SHARE = 0.99

"""
## The truth

The distance to a polygon is the smallest distance to one of its edges. A point
is inside if a ray from it crosses an odd number of edges.
"""


def make_star(points=5, inner=0.45):
    """Returns the corners of a star, of shape `(2 * points, 2)`."""
    angles = np.pi / 2 + np.pi * np.arange(2 * points) / points
    radii = np.where(np.arange(2 * points) % 2, inner, 1.0)
    return radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def signed_distance(corners, x):
    """Returns the exact distances of points to a polygon, negative inside.

    Args:
        corners: Array of shape `(num_corners, 2)`.
        x: Array of shape `(num_points, 2)`.
    """
    ends = np.roll(corners, -1, axis=0)
    edges, offsets = ends - corners, x[:, None] - corners
    shares = np.sum(offsets * edges, axis=-1) / np.sum(edges**2, axis=-1)
    nearest = offsets - np.clip(shares, 0, 1)[..., None] * edges
    distances = np.linalg.norm(nearest, axis=-1).min(axis=1)
    # Does the ray to the right of a point cross the edge?
    height = x[:, 1:]
    spans = (corners[:, 1] > height) != (ends[:, 1] > height)
    slopes = np.where(edges[:, 1] == 0, 1.0, edges[:, 1])
    along = (height - corners[:, 1]) / slopes
    right = x[:, :1] < corners[:, 0] + along * edges[:, 0]
    inside = np.sum(spans & right, axis=1) % 2 == 1
    return np.where(inside, -distances, distances)


class NewPoints(keras.utils.PyDataset):
    """Batches of random points, and their distances."""

    def __init__(self, corners, batch_size, steps, seed):
        super().__init__()
        self.corners, self.batch_size = corners, batch_size
        self.steps, self.seed = steps, seed

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, index))
        x = rng.uniform(-SIDE, SIDE, (self.batch_size, 2))
        targets = signed_distance(self.corners, x)
        return x.astype("float32"), targets.astype("float32")[:, None]


"""
## The networks

The distance is 1-Lipschitz, so that a 1-Lipschitz network can learn it. The
ordinary network has as many units, and a smooth activation. Nothing limits its
slope.
"""


def make_networks(units, depth):
    """Returns a network with proven bounds, and an ordinary one."""
    proven, ordinary = [keras.Input((2,))], [keras.Input((2,))]
    for _ in range(depth):
        proven.append(
            kl.layers.OrthogonalDense(units, parametrization="bjorck")
        )
        proven.append(kl.layers.GroupSort(8))
        ordinary.append(keras.layers.Dense(units, "gelu"))
    proven.append(kl.layers.UnitNormDense(1))
    ordinary.append(keras.layers.Dense(1))
    return (
        kl.models.LipschitzSequential(proven, name="proven"),
        keras.Sequential(ordinary, name="ordinary"),
    )


def train(model, data, learning_rate):
    """Minimizes the mean absolute error of the distance."""
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, len(data))
    model.compile(keras.optimizers.Adam(schedule), "mae")
    model.fit(data, verbose=0)


"""
## Sphere tracing

`certified_radius` returns `|f| / L`, computed in float64 and rounded down: at
less than this distance the sign of `f` stays the same. For an ordinary network
there is no such number, and the field itself is taken for the distance, as
usual. A ray stops close to the surface, or where it leaves the square.
"""


def make_rays(number):
    """Returns origins outside of the star, and directions of length one.

    Half of the rays point at the center. The others pass it at a distance of
    0.69. All of them meet the star.
    """
    angles = 2 * np.pi * np.arange(number) / number
    outward = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    side = np.stack([-outward[:, 1], outward[:, 0]], axis=1)
    offsets = 0.8 * (np.arange(number) % 2)[:, None]
    toward = offsets * side - 1.4 * outward
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    return 1.4 * outward, toward


def trace(safe_distance, origins, directions, steps, tolerance):
    """Moves along rays by a distance that is safe at each point.

    Args:
        safe_distance: Function of points that returns the length of a step.
        origins: Array of shape `(num_rays, 2)`.
        directions: Array of the same shape, of vectors of length one.
        steps: Integer. Largest number of steps.
        tolerance: Float. A ray stops if its next step is shorter.

    Returns:
        Array of shape `(num_rays, num_steps + 1)`: how far each ray has come
        after each step.
    """
    lengths = np.zeros(len(origins))
    path = [lengths]
    for _ in range(steps):
        points = origins + lengths[:, None] * directions
        step = safe_distance(points)
        moving = (step >= tolerance) & np.all(np.abs(points) <= SIDE, axis=1)
        if not np.any(moving):
            break
        lengths = lengths + np.where(moving, SHARE * step, 0.0)
        path.append(lengths)
    return np.stack(path, axis=1)


def find_crossings(field, origins, directions, path, between=50):
    """Returns on which rays a field that is positive at first changes its sign.

    The field is evaluated at the steps of each ray, and between them.
    """
    shares = np.linspace(0, 1, between, endpoint=False)
    gaps = np.diff(path, axis=1)[..., None]
    lengths = (path[:, :-1, None] + shares * gaps).reshape(len(path), -1)
    lengths = np.concatenate([lengths, path[:, -1:]], axis=1)
    points = origins[:, None] + lengths[..., None] * directions[:, None]
    values = field(points.reshape(-1, 2)).reshape(lengths.shape)
    return np.any(values <= 0, axis=1)


def evaluate(model, corners, arguments):
    """Compares a field with the truth, and traces rays through it."""

    def field(x):
        return model.predict(x.astype("float32"), 10_000, verbose=0)[:, 0]

    def safe_distance(x):
        if model.name == "ordinary":
            return np.maximum(field(x), 0)
        return kl.certificates.certified_radius(model, x)

    rng = np.random.default_rng((arguments.seed, arguments.steps))
    x = rng.uniform(-SIDE, SIDE, (20_000, 2))
    errors = np.abs(field(x) - signed_distance(corners, x))
    origins, directions = make_rays(arguments.rays)
    path = trace(safe_distance, origins, directions, 200, arguments.tolerance)
    ends = origins + path[:, -1:] * directions
    hit = np.all(np.abs(ends) <= SIDE, axis=1)
    distances = np.abs(signed_distance(corners, ends[hit]))
    gradients = kl.explanations.saliency_maps(model, x[:2000]).gradients[
        0, :, 0
    ]
    crossed = find_crossings(field, origins, directions, path)
    row = {
        "network": model.name,
        "mean_error": errors.mean(),
        "largest_error": errors.max(),
        "largest_slope": np.linalg.norm(gradients, axis=1).max(),
        "rays": len(path),
        "hits": int(np.sum(hit)),
        "crossed": int(np.sum(crossed)),
        "off_surface": distances.max(initial=0.0),
    }
    if model.name == "proven":
        bound = kl.bounds.lipschitz_bound(model)
        # Bounds are rounded up.
        row["lipschitz_bound"] = math.ceil(1e5 * bound) / 1e5
    grid = np.linspace(-SIDE, SIDE, 49)
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    # An odd stride shows rays of both kinds.
    chosen = slice(None, None, len(path) // 25 | 1)
    row["picture"] = {
        "field": field(points).reshape(len(grid), -1),
        "origins": origins[chosen],
        "directions": directions[chosen],
        "paths": [np.unique(each) for each in path[chosen]],
        "crossed": crossed[chosen].tolist(),
    }
    return row


"""
## Results
"""


def format_table(rows):
    """Returns the results as lines of text."""
    lines = [
        f"{'network':<10}{'bound L':>9}{'largest slope':>15}{'mean error':>12}"
        f"{'rays':>6}{'crossed':>9}{'stopped':>9}{'off surface':>13}"
    ]
    for row in rows:
        bound = row.get("lipschitz_bound")
        text = "-" if bound is None else f"{bound:.5f}"
        lines.append(
            f"{row['network']:<10}{text:>9}{row['largest_slope']:>15.3f}"
            f"{row['mean_error']:>12.4f}{row['rays']:>6}{row['crossed']:>9}"
            f"{row['hits']:>9}{row['off_surface']:>13.4f}"
        )
    return "\n".join(lines)


def draw(results, path):
    """Draws the results, as they are in the JSON file, to a picture."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    figure = Figure(figsize=(12, 5.5), layout="constrained")
    corners = np.array(results["corners"])
    outline = np.concatenate([corners, corners[:1]])
    for axes, row in zip(figure.subplots(1, 2), results["rows"], strict=True):
        shown = row["picture"]
        field = np.array(shown["field"])
        grid = np.linspace(-SIDE, SIDE, len(field))
        axes.contourf(grid, grid, field, 24, cmap="RdBu", vmin=-1, vmax=1)
        axes.contour(grid, grid, field, [0.0], colors="black")
        axes.plot(*outline.T, ":", color="black", linewidth=1)
        for index, (origin, direction, lengths, crossed) in enumerate(
            zip(
                np.array(shown["origins"]),
                np.array(shown["directions"]),
                shown["paths"],
                shown["crossed"],
                strict=True,
            )
        ):
            points = origin + np.array(lengths)[:, None] * direction
            color = "tab:red" if crossed else "tab:green"
            axes.plot(*points.T, ".-", color=color, markersize=3, linewidth=1)
            if index % 5 == 0:
                for point, step in zip(points, np.diff(lengths), strict=False):
                    axes.add_patch(Circle(point, step, fill=False, alpha=0.5))
        axes.set_xlim(-SIDE, SIDE)
        axes.set_ylim(-SIDE, SIDE)
        axes.set_aspect("equal")
        axes.set_title(
            f"{row['network']}: {row['crossed']} of {row['rays']} rays cross"
        )
    figure.savefig(path, dpi=120)


def round_numbers(value):
    """Rounds all numbers in nested lists and dicts, for JSON."""
    if isinstance(value, dict):
        return {key: round_numbers(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [round_numbers(each) for each in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 5)
    return value


def parse_arguments(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="A distance field.")
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rays", type=int, default=1000)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("distance_field")
    )
    parser.add_argument("--smoke", action="store_true", help="few steps")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.units, arguments.depth, arguments.steps = 16, 2, 300
        arguments.rays = 100
    return arguments


def main(argv=None):
    """Trains both networks, traces rays, and writes what was found."""
    arguments = parse_arguments(argv)
    corners = make_star()
    data = NewPoints(
        corners, arguments.batch_size, arguments.steps, arguments.seed
    )
    keras.utils.set_random_seed(arguments.seed)
    rows = []
    for model, learning_rate in zip(
        make_networks(arguments.units, arguments.depth),
        (1e-2, 3e-3),
        strict=True,
    ):
        train(model, data, learning_rate)
        rows.append(evaluate(model, corners, arguments))
    print(format_table(rows))
    results = round_numbers({"corners": corners, "rows": rows})
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "distance_field.json"
    path.write_text(json.dumps(results) + "\n", encoding="utf-8")
    draw(results, path.with_suffix(".png"))
    print(f"Written to {arguments.output}/: {path.name}, {path.stem}.png")
    return results


if __name__ == "__main__":
    main()
