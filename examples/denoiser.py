"""# Deblurring that provably converges

Plug-and-play methods restore an image with a denoiser in place of a prior: a
step towards the measurement, then a denoising step, and again. With an ordinary
network nothing says that this ends. If `f` is 1-Lipschitz, `(x + f(x)) / 2` is
firmly non-expansive, and the iteration converges from every start if it has a
fixed point at all. This script trains such a denoiser on digits and an ordinary
one of the same size, deblurs with both, and writes `denoiser.json` and
`denoiser.png`.

    python examples/denoiser.py                    # enlarged 8x8 digits
    python examples/denoiser.py --dataset mnist    # by TensorFlow Datasets
"""

import argparse
import json
import pathlib

import keras
import numpy as np

import keras_lip as kl

NUM_SHOWN = 6

"""
## The data, and what is measured

Images of 16 x 16 pixels in [0, 1], or 28 x 28, are blurred by a Gaussian window
with circular padding, and get a little noise. The blur is symmetric, has a norm
of one, and is diagonal in the Fourier domain.
"""


def load_images(name, data_dir):
    """Returns images to train on and images that are held out."""
    if name == "digits":
        from scipy.ndimage import zoom
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        images = zoom(images.reshape(-1, 8, 8) / 16, (1, 2, 2), order=1)
        return train_test_split(
            images.astype("float32")[..., None],
            test_size=0.25,
            stratify=labels,
            random_state=0,
        )
    if data_dir is not None:
        with np.load(data_dir / f"{name}.npz") as arrays:
            parts = [arrays["x_train"], arrays["x_test"]]
    else:
        try:
            import tensorflow_datasets as tfds
        except ImportError as error:
            raise SystemExit(
                f"The data set {name!r} comes by TensorFlow Datasets: "
                'pip install "keras-lip[data]". Or pass --data-dir, a folder '
                f"with {name}.npz."
            ) from error
        loaded = tfds.load(name, split=["train", "test"], batch_size=-1)
        parts = [tfds.as_numpy(part)["image"] for part in loaded]
    return [
        np.asarray(part, "float32").reshape(-1, 28, 28, 1) / 255
        for part in parts
    ]


class Blur:
    """A circular convolution with a Gaussian window."""

    def __init__(self, side, stddev):
        offsets = np.minimum(np.arange(side), side - np.arange(side))
        window = np.exp(-(offsets**2) / (2 * stddev**2))
        window /= window.sum()
        line = np.fft.fft(window).real
        self.spectrum = np.outer(line, line)[None, :, :, None]

    def __call__(self, images):
        """Blurs images in float64. The adjoint is the same function."""
        transformed = np.fft.fft2(images, axes=(1, 2))
        blurred = np.fft.ifft2(self.spectrum * transformed, axes=(1, 2))
        return blurred.real


"""
## Two denoisers

`f` is a network of orthogonal convolutions and `MaxMin`, between one channel
and one channel. Its bound is proven after training, and should it exceed one by
rounding, `f` is divided by it. The ordinary denoiser has ordinary convolutions
and subtracts the noise that it finds.
"""


def make_constrained(shape, width, depth):
    """Returns `f`, a 1-Lipschitz network from images to images."""
    layers = [keras.Input(shape)]
    for _ in range(depth):
        layers += [kl.layers.BCOPConv2D(width, 3), kl.layers.MaxMin()]
    layers.append(kl.layers.BCOPConv2D(shape[-1], 3))
    return kl.models.LipschitzSequential(layers, name="constrained")


def make_ordinary(shape, width, depth):
    """Returns an ordinary network from images to their noise."""
    layers = [keras.Input(shape)]
    for _ in range(depth):
        layers.append(
            keras.layers.Conv2D(width, 3, padding="same", activation="relu")
        )
    layers.append(keras.layers.Conv2D(shape[-1], 3, padding="same"))
    return keras.Sequential(layers, name="ordinary")


class NoisyImages(keras.utils.PyDataset):
    """Images with new noise, and what a network has to return for them."""

    def __init__(self, images, stddev, make_target, steps, seed):
        super().__init__()
        self.images, self.stddev = images, stddev
        self.make_target, self.steps = make_target, steps
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        clean = self.images[self.rng.integers(len(self.images), size=64)]
        noise = self.rng.normal(0, self.stddev, clean.shape).astype("float32")
        return clean + noise, self.make_target(clean, noise)


def train(model, images, make_target, arguments):
    """Trains a network by the mean squared error."""
    data = NoisyImages(
        images,
        arguments.noise,
        make_target,
        arguments.steps_per_epoch,
        arguments.seed,
    )
    steps = arguments.epochs * len(data)
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(schedule), "mse")
    model.fit(data, epochs=arguments.epochs, verbose=0)


def call(model, images):
    """Runs a network on images, in float32."""
    outputs = model.predict(images.astype("float32"), verbose=0)
    return outputs.astype("float64")


"""
The target of `f` is the point whose middle with the noisy image is the clean
one: `x + f(x) = 2 * clean`, so `f(clean + noise) = clean - noise`.
"""


def train_denoisers(arguments, images):
    """Returns both denoisers, the bound of `f`, and the ordinary network."""
    shape = images.shape[1:]
    keras.utils.set_random_seed(arguments.seed)
    constrained = make_constrained(shape, arguments.width, arguments.depth)
    train(constrained, images, lambda clean, noise: clean - noise, arguments)
    bound = kl.bounds.lipschitz_bound(constrained)
    ordinary = make_ordinary(shape, arguments.width, arguments.depth)
    train(ordinary, images, lambda clean, noise: noise, arguments)
    denoisers = {
        "firmly non-expansive": lambda x: (
            (x + call(constrained, x) / max(1.0, bound)) / 2
        ),
        "ordinary": lambda x: x - call(ordinary, x),
    }
    return denoisers, bound, ordinary


"""
## The iteration

With the blur `A`, the measurement `y`, a denoiser `D` and a step `t < 2`, the
iteration is `x <- D(x - t A (A x - y))`. The inner step is averaged, as is a
firmly non-expansive `D`, so their composition `T` is averaged. If `T` has a
fixed point, the iteration converges to one, and for any non-expansive `T` the
residual `|T(x) - x|` never increases.
"""


def restore(denoise, blur, measured, step, iterations):
    """Returns the images after each iteration, and the residuals."""
    x, path, residuals = measured, [measured], []
    for _ in range(iterations):
        following = denoise(x - step * blur(blur(x) - measured))
        if not np.isfinite(following).all() or np.abs(following).max() > 1e6:
            break
        residuals.append(norms(following - x))
        x = following
        path.append(x)
    return path, np.array(residuals)


def norms(differences):
    """Returns the l2 norm of each image."""
    return np.linalg.norm(differences.reshape(len(differences), -1), axis=1)


def find_stretch(denoise, blur, measured, step, rng, iterations=30):
    """Searches for images that one iteration moves apart.

    Differences of neighbouring images are multiplied by the Jacobian again and
    again, by finite differences. The largest factor is an estimate from below
    of the Lipschitz constant of an iteration.
    """

    def iterate(x):
        return denoise(x - step * blur(blur(x) - measured))

    size = 0.1
    direction = rng.normal(size=measured.shape)
    image, largest = iterate(measured), 0.0
    for _ in range(iterations):
        direction /= norms(direction)[:, None, None, None]
        direction = (iterate(measured + size * direction) - image) / size
        largest = max(largest, float(norms(direction).max()))
    return largest


def decibels(found, clean):
    """Returns the mean peak signal-to-noise ratio, with a peak of one."""
    errors = np.mean((found - clean) ** 2, axis=(1, 2, 3))
    return float(np.mean(-10 * np.log10(errors)))


def compare(arguments, denoisers, clean):
    """Deblurs with both denoisers."""
    rng = np.random.default_rng(arguments.seed)
    blur = Blur(clean.shape[1], arguments.blur)
    measured = blur(clean.astype("float64"))
    measured += rng.normal(0, 0.01, measured.shape)
    results = {
        "blurred": decibels(measured, clean),
        "clean": to_pixels(clean[:NUM_SHOWN]),
        "measured": to_pixels(measured[:NUM_SHOWN]),
        "restored": {},
    }
    for name, denoise in denoisers.items():
        path, residuals = restore(
            denoise, blur, measured, arguments.step, arguments.iterations
        )
        quality = [decibels(x, clean) for x in path]
        best = int(np.argmax(quality))
        # Smaller residuals are rounding errors of float32.
        large = residuals[:-1] > 1e-4
        growth = residuals[1:][large] / residuals[:-1][large]
        results["restored"][name] = {
            "residuals": residuals.max(axis=1).tolist(),
            "quality": quality,
            "largest_growth": float(growth.max()),
            "stretch": find_stretch(
                denoise, blur, measured, arguments.step, rng
            ),
            "best": best,
            "pictures": to_pixels(path[-1][:NUM_SHOWN]),
        }
        print(
            f"{name}: {quality[-1]:.2f} dB after {len(path) - 1} iterations "
            f"(best {quality[best]:.2f} after {best}, blurred "
            f"{quality[0]:.2f}), residual {residuals[0].max():.2e} to "
            f"{residuals[-1].max():.2e}, largest growth {growth.max():.6f}, "
            f"stretch found {results['restored'][name]['stretch']:.3f}",
            flush=True,
        )
    return results


def to_pixels(images):
    """Returns images as lists of integers, mostly from 0 to 255."""
    return np.round(255 * np.clip(images[..., 0], -1, 2)).astype(int).tolist()


"""
## The picture
"""


def draw(results, path):
    """Draws the results."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.6))
    rows = {"clean": results["clean"], "blurred": results["measured"]}
    for name, row in results["restored"].items():
        rows[name.replace(" ", "\n")] = row["pictures"]
    grid = left.subplots(len(rows), 1)
    for axes, (name, pixels) in zip(grid, rows.items(), strict=True):
        framed = np.pad(pixels, [(0, 0), (1, 1), (1, 1)])
        axes.imshow(
            np.concatenate(framed, axis=1), cmap="gray_r", vmin=0, vmax=255
        )
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.set_xticks([])
        axes.set_yticks([])
    residuals, quality = right.subplots(1, 2)
    for name, row in results["restored"].items():
        number = range(1, 1 + len(row["residuals"]))
        residuals.loglog(number, row["residuals"], label=name)
        quality.semilogx(
            range(1, 1 + len(row["quality"])), row["quality"], label=name
        )
    residuals.set_ylabel("largest residual of an image (l2)")
    quality.set_ylabel("peak signal-to-noise ratio (dB)")
    quality.axhline(results["blurred"], color="gray", linestyle="--")
    quality.set_ylim(bottom=max(0, results["blurred"] - 10))
    for axes in (residuals, quality):
        axes.set_xlabel("iteration")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path, format="png", dpi=130)


def round_floats(value, digits=6):
    """Rounds all floats of nested dicts and lists."""
    if isinstance(value, dict):
        return {key: round_floats(each, digits) for key, each in value.items()}
    if isinstance(value, list):
        return [round_floats(each, digits) for each in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def parse_arguments(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Deblur images.")
    parser.add_argument(
        "--dataset", choices=("digits", "mnist"), default="digits"
    )
    parser.add_argument("--data-dir", type=pathlib.Path, help="with NAME.npz")
    parser.add_argument("--noise", type=float, default=0.01, help="of training")
    parser.add_argument("--blur", type=float, default=1.5, help="in pixels")
    parser.add_argument("--step", type=float, default=1.9)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps-per-epoch", type=int, default=50)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("denoiser")
    )
    parser.add_argument("--smoke", action="store_true", help="in seconds")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.width, arguments.depth = 4, 1
        arguments.epochs, arguments.steps_per_epoch = 1, 2
        arguments.iterations, arguments.samples = 20, 8
    return arguments


def main(argv=None):
    """Trains, deblurs and writes."""
    arguments = parse_arguments(argv)
    x_train, x_test = load_images(arguments.dataset, arguments.data_dir)
    denoisers, bound, ordinary = train_denoisers(arguments, x_train)
    clean = x_test[: arguments.samples]
    results = {
        "dataset": arguments.dataset,
        "noise": arguments.noise,
        "blur": arguments.blur,
        "step": arguments.step,
        "seed": arguments.seed,
        "bound": bound,
        "bound_of_ordinary": kl.bounds.lipschitz_bound(ordinary),
    }
    print(
        f"proven bound of f: {bound:.8f}, of the ordinary network: "
        f"{results['bound_of_ordinary']:.3f}"
    )
    results |= compare(arguments, denoisers, clean)
    results = round_floats(results)
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, separators=(",", ":"))
    (arguments.output / "denoiser.json").write_text(text + "\n")
    draw(results, arguments.output / "denoiser.png")
    print(f"Written to {arguments.output}/: denoiser.json, denoiser.png")


if __name__ == "__main__":
    main()
