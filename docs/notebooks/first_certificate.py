# %% [markdown]
# # A network with a proof
#
# Train a digit classifier with a known Lipschitz constant, prove how far each
# digit can be moved before the prediction may change, and look at the safest
# and the most fragile one. It takes a minute on a CPU.
#
# In Colab, install first:
# `!pip install "keras-lip[torch,quickstart]"`

# %%
import os

# Or "tensorflow" or "jax", if it is installed. Keras reads it at its import.
os.environ["KERAS_BACKEND"] = "torch"

# %%
import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_lip as kl

images, labels = load_digits(return_X_y=True)
images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
x, x_test, y, y_test = train_test_split(
    images, labels, stratify=labels, random_state=0
)

# %% [markdown]
# ## Build and train
#
# All layers keep distances: an orthogonal matrix, a sort of pairs, and rows of
# norm one at the end.

# %%
keras.utils.set_random_seed(0)
model = kl.models.LipschitzSequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Flatten(),
        kl.layers.OrthogonalDense(128, parametrization="bjorck"),
        kl.layers.MaxMin(),
        kl.layers.OrthogonalDense(128, parametrization="bjorck"),
        kl.layers.MaxMin(),
        kl.layers.UnitNormDense(10),
    ],
    name="digits",
)
model.compile(
    keras.optimizers.Adam(0.01),
    kl.losses.TemperatureSparseCategoricalCrossentropy(4.0),
    metrics=["accuracy", kl.metrics.CertifiedAccuracy(0.3)],
)
history = model.fit(
    x, y, validation_data=(x_test, y_test), batch_size=64, epochs=30, verbose=0
)

# %% [markdown]
# ## Prove
#
# The audit bounds every layer in float64, from above. The report has a radius
# for each image.

# %%
audit = kl.certificates.audit(model, verbose=0)
print(audit)

# %%
report = kl.certificates.certify(
    model,
    x_test,
    y_test,
    epsilons=[0.1, 0.3, 0.5],
    audit=audit,
    verbose=0,
)
print(report)

# %% [markdown]
# ## Attack
#
# On the same images, no attack can fall below the certified accuracy. Attacks
# take longer than proofs, so both are shown of the first hundred images.

# %%
first = kl.certificates.certify(
    model,
    x_test[:100],
    y_test[:100],
    epsilons=[0.1, 0.3, 0.5],
    audit=audit,
    verbose=0,
)
first.attacks["attacked"] = kl.certificates.attacked_accuracy(
    model, x_test[:100], y_test[:100], epsilons=[0.1, 0.3, 0.5], steps=20
)
first.plot()

# %% [markdown]
# ## The safest and the most fragile digit

# %%
kl.plots.radii_histogram(report, x_test)

# %% [markdown]
# ## Ship
#
# A stock Keras model computes the same numbers and loads without keras_lip.

# %%
stock = kl.models.materialize(model)
outputs = model.predict(x_test, verbose=0), stock.predict(x_test, verbose=0)
print("largest difference:", np.abs(outputs[0] - outputs[1]).max())
