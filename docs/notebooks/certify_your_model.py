# %% [markdown]
# # Certify your own Keras model
#
# Take a Keras classifier as it is and prove what can be proven of it. Then
# rebuild it from Lipschitz layers, train it a little further, and compare.
#
# In Colab, install first:
# `!pip install "keras-lip[torch,quickstart]"`

# %%
import os

# Or "tensorflow" or "jax", if it is installed. Keras reads it at its import.
os.environ["KERAS_BACKEND"] = "torch"

# %% [markdown]
# ## Your model
#
# Here a small convolutional network is trained on digits. Put your own in its
# place: `stock = keras.models.load_model("my_model.keras")`, and your data in
# the place of the digits.

# %%
import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_lip as kl

images, labels = load_digits(return_X_y=True)
images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
x, x_test, y, y_test = train_test_split(
    images, labels, stratify=labels, random_state=0
)

keras.utils.set_random_seed(0)
stock = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(2),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10),
    ],
    name="stock",
)
stock.compile(
    keras.optimizers.Adam(0.003),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = stock.fit(x, y, batch_size=64, epochs=10, verbose=0)

# %% [markdown]
# ## What can be proven of it
#
# The audit names the layers that make the bound large. The radii are those of
# the worst case that the bound allows: small.

# %%
print(kl.certificates.audit(stock, steps=None, verbose=0))
before = kl.certificates.certify(
    stock, x_test, y_test, epsilons=[0.01, 0.05, 0.1, 0.3], verbose=0
)
print(before)

# %% [markdown]
# ## Rebuild it
#
# Kernels become the start of orthogonal ones, activations become sorts of
# pairs, the last layer gets rows of norm one.

# %%
conversion = kl.models.from_keras(stock, activation="max_min")
print(conversion)
model = conversion.model

# %%
model.compile(
    keras.optimizers.Adam(0.01),
    kl.losses.TemperatureSparseCategoricalCrossentropy(4.0),
    metrics=["accuracy", kl.metrics.CertifiedAccuracy(0.1)],
)
history = model.fit(x, y, batch_size=64, epochs=20, verbose=0)
after = kl.certificates.certify(
    model, x_test, y_test, epsilons=[0.01, 0.05, 0.1, 0.3], verbose=0
)
print(after)

# %% [markdown]
# ## Compare

# %%
kl.plots.certified_curves({"as it was": before, "rebuilt": after})
