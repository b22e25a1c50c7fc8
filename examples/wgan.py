"""# A Wasserstein GAN without a gradient penalty

A Wasserstein GAN needs a critic whose Lipschitz constant is at most one. Here
every layer of the critic guarantees it, so nothing is clipped or penalized, and
the difference of the critic's means is a lower estimate of the Wasserstein-1
distance throughout training. This script trains a generator of digits by
`fit`, on any backend, or with `--critics` compares six critics on a generator
that stays fixed. It writes `wgan.json` and `wgan.png`, and adds the table to
those of an earlier run.

    python examples/wgan.py                     # 8x8 digits, a few minutes
    python examples/wgan.py --critics           # the table of critics
    python examples/wgan.py --dataset mnist     # by TensorFlow Datasets

The table of the paper needs a GPU:

    python examples/wgan.py --critics --dataset stl10 --critic-width 64
"""

import argparse
import json
import pathlib

import keras
import numpy as np
from keras import ops

import keras_lip as kl

BATCH_SIZE = 64
NUM_SHOWN = 10
CONVOLUTIONS = {
    "OSSN": ("ossn", {"training_iterations": 10}),
    "RKO": ("rko", None),
    "BCOP": ("bcop", None),
}
ACTIVATIONS = {"MaxMin": "max_min", "ReLU": "relu"}

"""
## The data

`DCGANCritic` halves an image four times, so sides are multiples of 16: the
digits are enlarged from 8 x 8, which doubles all distances, images of MNIST get
a margin, and those of STL-10 are reduced to 64 x 64. Pixels are in [0, 1].
"""


def load_images(name, data_dir):
    """Returns images to train on and images that are held out."""
    if name == "digits":
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
        images = images.repeat(2, axis=1).repeat(2, axis=2)
        return train_test_split(
            images, test_size=0.25, stratify=labels, random_state=0
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
    return [prepare(np.asarray(part)) for part in parts]


def prepare(images):
    """Scales pixels to [0, 1] and sides to a multiple of 16."""
    images = images.reshape(*images.shape[:3], -1).astype("float32") / 255
    if images.shape[1] == 96:
        images = ops.image.resize(images, (64, 64), antialias=True)
        return np.clip(ops.convert_to_numpy(images), 0, 1)
    margin = -images.shape[1] % 16 // 2
    return np.pad(images, [(0, 0), (margin, margin), (margin, margin), (0, 0)])


class ImagesAndNoise(keras.utils.PyDataset):
    """Whole batches of images in a new order every epoch, with new noise."""

    def __init__(self, images, latent_dim, seed):
        super().__init__()
        self.images, self.latent_dim = images, latent_dim
        self.rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return len(self.images) // BATCH_SIZE

    def __getitem__(self, index):
        start = index * BATCH_SIZE
        chosen = self.order[start : start + BATCH_SIZE]
        return ((self.images[chosen], self.draw_noise(BATCH_SIZE)),)

    def on_epoch_end(self):
        self.order = self.rng.permutation(len(self.images))

    def draw_noise(self, number):
        """Returns inputs of the generator."""
        noise = self.rng.normal(size=(number, self.latent_dim))
        return noise.astype("float32")


"""
## The generator

It is an ordinary network without normalization. For the enlarged digits it
makes 8 x 8 pixels and enlarges them as well.
"""


def make_generator(shape, latent_dim, width, enlarged):
    """Returns a network from noise to images with pixels in [0, 1]."""
    side = shape[0] // 2 if enlarged else shape[0]
    inputs = keras.Input((latent_dim,))
    x = keras.layers.Dense(4 * 4 * 4 * width, activation="relu")(inputs)
    x = keras.layers.Reshape((4, 4, 4 * width))(x)
    while x.shape[1] < side:
        x = keras.layers.UpSampling2D()(x)
        x = keras.layers.Conv2D(
            2 * width, 3, padding="same", activation="relu"
        )(x)
    x = keras.layers.Conv2D(shape[-1], 3, padding="same", activation="sigmoid")(
        x
    )
    if enlarged:
        x = keras.layers.UpSampling2D()(x)
    return keras.Model(inputs, x, name="generator")


"""
## Two players, one step

The critic maximizes the difference of its means on real and on generated
images, and the generator minimizes the same number. `2 * stop_gradient(x) - x`
has the value of `x` and the gradient of `-x`. Between the generator and the
critic it turns the gradient around for the generator alone. So one loss has the
right gradient for both, and the `train_step` of Keras needs no change on any
backend.
"""


class WGAN(keras.Model):
    """A generator and a critic with opposite aims."""

    def __init__(self, generator, critic):
        super().__init__(name="wgan")
        self.generator = generator
        self.critic = critic

    def call(self, inputs, training=False):
        images, noise = inputs
        fakes = self.generator(noise, training=training)
        fakes = 2 * ops.stop_gradient(fakes) - fakes
        both = ops.concatenate([images, fakes])
        return self.critic(both, training=training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        real, fake = ops.split(y_pred, 2)
        return ops.mean(fake) - ops.mean(real)


"""
Each player has its own optimizer. With `gradient_accumulation_steps` the
generator waits for several steps of the critic.
"""


class TwoOptimizers(keras.optimizers.Optimizer):
    """Updates the first variables and the others by two optimizers."""

    def __init__(self, first, second, num_first):
        super().__init__(learning_rate=0.0)
        self.first, self.second, self.num_first = first, second, num_first

    def build(self, variables):
        super().build(variables)
        self.first.build(variables[: self.num_first])
        self.second.build(variables[self.num_first :])

    @property
    def variables(self):
        own = super().variables
        return [*own, *self.first.variables, *self.second.variables]

    def apply(self, grads, trainable_variables=None):
        self.first.apply(grads[: self.num_first])
        self.second.apply(grads[self.num_first :])


def compile_wgan(wgan, critic_steps):
    """Compiles the two networks."""
    slow = critic_steps if critic_steps > 1 else None
    optimizer = TwoOptimizers(
        keras.optimizers.Adam(
            1e-3, beta_1=0.5, gradient_accumulation_steps=slow
        ),
        keras.optimizers.Adam(2e-3, beta_1=0.5),
        len(wgan.generator.trainable_variables),
    )
    optimizer.build(wgan.trainable_variables)
    wgan.compile(optimizer)


"""
## What the critic measures

`wasserstein_lower_bound` divides by the proven bound of the critic and adds a
standard error. The images are held out, so that the critic saw neither sample.
For finite samples of one size there is an exact answer: the cheapest way to
pair them. No critic can exceed it on these samples.
"""


def pair_exactly(x1, x2):
    """Returns the exact Wasserstein-1 distance of two samples of one size.

    Of a larger second sample, only as many are used.
    """
    from scipy.optimize import linear_sum_assignment

    x1, x2 = (
        x.reshape(len(x), -1).astype("float64") for x in (x1, x2[: len(x1)])
    )
    squares = np.sum(x1**2, 1)[:, None] + np.sum(x2**2, 1) - 2 * x1 @ x2.T
    costs = np.sqrt(np.maximum(squares, 0.0))
    return float(costs[linear_sum_assignment(costs)].mean())


def measure(critic, real, fake):
    """Returns what the critic says of two samples, and the truth."""
    report = kl.certificates.wasserstein_lower_bound(
        critic, real, fake, bounds=(0, 1)
    )
    return {
        "estimate": report.estimate,
        "standard_error": report.standard_error,
        "lower_bound": report.lower_bound,
        "lipschitz_bound": report.lipschitz_bound,
        "exact": pair_exactly(real, fake),
    }


def train_wgan(arguments, x_train, x_test):
    """Trains a generator, and measures it between the epochs."""
    enlarged = arguments.dataset == "digits"
    generator = make_generator(
        x_train.shape[1:], arguments.latent_dim, arguments.width, enlarged
    )
    critic = kl.applications.DCGANCritic(
        x_train.shape[1:], width=arguments.width
    )
    wgan = WGAN(generator, critic)
    compile_wgan(wgan, arguments.critic_steps)
    data = ImagesAndNoise(x_train, arguments.latent_dim, arguments.seed)
    noise = data.draw_noise(len(x_test))

    def snapshot(epoch):
        fakes = generator.predict(noise, batch_size=256, verbose=0)
        row = {"epoch": epoch, **measure(critic, x_test, fakes)}
        print("  ".join(f"{name} {row[name]:.4g}" for name in row))
        return row, to_pixels(fakes[:NUM_SHOWN], enlarged)

    stops = np.unique(
        np.linspace(0, arguments.epochs, arguments.snapshots + 1).astype(int)
    )
    taken, losses = [snapshot(0)], []
    for start, stop in zip(stops[:-1], stops[1:], strict=True):
        history = wgan.fit(
            data, initial_epoch=start, epochs=stop, verbose=0
        ).history
        losses += [-loss for loss in history["loss"]]
        taken.append(snapshot(int(stop)))
    return {
        "snapshots": [row for row, _ in taken],
        "gaps": losses,
        "pictures": [pixels for _, pixels in taken],
        "real": to_pixels(x_test[:NUM_SHOWN], enlarged),
    }


def to_pixels(images, enlarged):
    """Returns images as lists of integers from 0 to 255."""
    step = 2 if enlarged else 1
    return np.round(255 * images[:, ::step, ::step]).astype(int).tolist()


"""
## The table of critics

How much of the distance can a critic see? The generator is fixed: a Gaussian
with the mean and the covariance of the images, cut off at 0 and 1. Six critics
are trained against it, and measured with images that are held out and with new
draws. The layers of one kind lose the norm of gradients that they should keep,
and their estimates fall short: ReLU against `MaxMin`, and normalized kernels
(OSSN, RKO) against orthogonal ones (BCOP).
"""


def make_gaussian(images):
    """Returns a function that draws images with given moments."""
    flat = images.reshape(len(images), -1).astype("float64")
    mean = flat.mean(axis=0)
    _, stddevs, directions = np.linalg.svd(flat - mean, full_matrices=False)
    factor = stddevs[:, None] * directions / len(flat) ** 0.5

    def draw(rng, number):
        drawn = mean + rng.normal(size=(number, len(factor))) @ factor
        drawn = np.clip(drawn, 0, 1).astype("float32")
        return drawn.reshape(number, *images.shape[1:])

    return draw


def train_critics(arguments, images, held_out):
    """Trains the six critics on as many pairs, and measures on new images."""
    draw = make_gaussian(images)
    rng = np.random.default_rng(arguments.seed)
    chosen = rng.integers(len(images), size=arguments.pairs)
    seen = images[chosen], draw(rng, arguments.pairs)
    new = draw(rng, max(arguments.pairs, len(held_out)))
    rows = []
    for convolution, (name, options) in CONVOLUTIONS.items():
        for activation in ACTIVATIONS:
            keras.utils.set_random_seed(arguments.seed)
            critic = kl.applications.DCGANCritic(
                images.shape[1:],
                name,
                ACTIVATIONS[activation],
                arguments.critic_width,
                convolution_arguments=options,
            )
            fit_critic(critic, seen, arguments.critic_epochs)
            row = {"convolution": convolution, "activation": activation}
            row |= measure(critic, held_out, new)
            row["gap"] = row["estimate"] * row["lipschitz_bound"]
            rows.append(row)
            print(
                f"{convolution:<5}{activation:<7}"
                f"gap {row['gap']:.4f}  bound {row['lipschitz_bound']:.7f}  "
                f"estimate {row['estimate']:.4f} "
                f"+- {row['standard_error']:.4f}  "
                f"lower bound {row['lower_bound']:.4f}",
                flush=True,
            )
    return rows


def fit_critic(critic, pairs, epochs):
    """Trains a critic on pairs of samples."""
    x = np.concatenate(pairs)
    y = np.repeat([1.0, 0.0], [len(part) for part in pairs])
    steps = epochs * -(-len(x) // (2 * BATCH_SIZE))
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    critic.compile(
        keras.optimizers.Adam(schedule), kl.losses.KantorovichRubinstein()
    )
    critic.fit(x, y, 2 * BATCH_SIZE, epochs, verbose=0)


"""
## The picture
"""


def draw(results, path):
    """Draws the results."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    if "snapshots" not in results:
        draw_table(figure.subplots(), results["critics"])
        figure.savefig(path, format="png", dpi=130)
        return
    left, right = figure.subfigures(1, 2, width_ratios=(1.1, 1))
    number = len(results["snapshots"])
    chosen = np.unique(np.linspace(0, number - 1, 6).astype(int))
    shown = {
        f"epoch {results['snapshots'][index]['epoch']}": results["pictures"][
            index
        ]
        for index in chosen
    }
    shown["real"] = results["real"]
    grid = left.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, (name, pixels) in zip(grid, shown.items(), strict=True):
        framed = np.pad(pixels, [(0, 0), (1, 1), (1, 1), (0, 0)])
        axes.imshow(
            np.concatenate(framed, axis=1).squeeze(),
            cmap="gray_r",
            vmin=0,
            vmax=255,
        )
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.set_xticks([])
        axes.set_yticks([])
    table = results.get("critics")
    panels = right.subplots(2 if table else 1, 1, squeeze=False)[:, 0]
    draw_curve(panels[0], results)
    if table:
        draw_table(panels[1], table)
    figure.savefig(path, format="png", dpi=130)


def draw_curve(axes, results):
    """Draws the critic's estimate over the epochs."""
    rows = results["snapshots"]
    epochs = [row["epoch"] for row in rows]
    axes.plot(
        range(1, len(results["gaps"]) + 1),
        results["gaps"],
        label="difference of means, training",
        alpha=0.5,
    )
    axes.errorbar(
        epochs,
        [row["estimate"] for row in rows],
        [2 * row["standard_error"] for row in rows],
        marker="o",
        capsize=2,
        label="estimate, held-out images",
    )
    axes.plot(
        epochs,
        [row["exact"] for row in rows],
        "k--",
        label="exact distance of the samples",
    )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("Wasserstein-1 distance")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def draw_table(axes, table):
    """Draws the estimates of the six critics."""
    for shift, activation in enumerate(ACTIVATIONS):
        rows = [row for row in table if row["activation"] == activation]
        axes.bar(
            np.arange(len(rows)) + 0.38 * (shift - 0.5),
            [row["gap"] for row in rows],
            0.36,
            yerr=[2 * row["standard_error"] for row in rows],
            capsize=2,
            label=activation,
        )
    axes.set_xticks(range(len(rows)), [row["convolution"] for row in rows])
    axes.set_ylabel("difference of means")
    axes.legend(fontsize="small")


def round_floats(value, digits=5):
    """Rounds all floats of nested dicts and lists."""
    if isinstance(value, dict):
        return {key: round_floats(each, digits) for key, each in value.items()}
    if isinstance(value, list):
        return [round_floats(each, digits) for each in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def parse_arguments(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Train a Wasserstein GAN.")
    parser.add_argument(
        "--dataset", choices=("digits", "mnist", "stl10"), default="digits"
    )
    parser.add_argument("--data-dir", type=pathlib.Path, help="with NAME.npz")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--latent-dim", type=int, default=32)
    parser.add_argument("--critic-steps", type=int, default=2)
    parser.add_argument("--snapshots", type=int, default=6)
    parser.add_argument(
        "--critics", action="store_true", help="the table alone"
    )
    parser.add_argument("--critic-width", type=int, default=8)
    parser.add_argument("--critic-epochs", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=6400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("wgan")
    )
    parser.add_argument("--smoke", action="store_true", help="in seconds")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.epochs, arguments.snapshots = 2, 1
        arguments.width = arguments.critic_width = 2
        arguments.latent_dim = 4
        arguments.critic_epochs, arguments.pairs = 1, 128
    return arguments


def main(argv=None):
    """Trains, measures and writes."""
    arguments = parse_arguments(argv)
    keras.utils.set_random_seed(arguments.seed)
    x_train, x_test = load_images(arguments.dataset, arguments.data_dir)
    # Exact distances of more images take long.
    x_test = x_test[: 64 if arguments.smoke else 1000]
    if arguments.smoke:
        x_train = x_train[:256]
    path = arguments.output / "wgan.json"
    results = {}
    if arguments.critics:
        if path.exists():
            results = json.loads(path.read_text())
        results["critics"] = train_critics(arguments, x_train, x_test)
    else:
        results = train_wgan(arguments, x_train, x_test)
    results = round_floats(results)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, separators=(",", ":")) + "\n")
    draw(results, arguments.output / "wgan.png")
    print(f"Written to {arguments.output}/: wgan.json, wgan.png")


if __name__ == "__main__":
    main()
