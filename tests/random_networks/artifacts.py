"""Exported models, as the runtime of their format runs them."""

import keras

from keras_lip import models


def export(model, path):
    """Exports a model in a format that the backend can run.

    Args:
        model: A classifier.
        path: A `pathlib.Path` in an existing folder, without a suffix.

    Returns:
        A function that takes an array of inputs and returns a dict of arrays.
    """
    if keras.backend.backend() == "torch":
        return _export_program(model, path.with_suffix(".pt2"))
    return _export_saved_model(model, path)


def _export_program(model, path):
    import torch

    models.export(model, path, "torch")
    module = torch.export.load(path).module()

    def run(x):
        outputs = module(torch.from_numpy(x))
        return {name: out.detach().numpy() for name, out in outputs.items()}

    return run


def _export_saved_model(model, path):
    import tensorflow as tf

    models.export(model, path, "tf_saved_model")
    serve = tf.saved_model.load(path).signatures["serving_default"]

    def run(x):
        outputs = serve(inputs=tf.constant(x))
        return {name: out.numpy() for name, out in outputs.items()}

    return run
