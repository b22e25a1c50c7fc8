"""Tells in which epochs the training step was made anew."""

import keras


class StepRecorder(keras.callbacks.Callback):
    """Put it behind the callback to watch; read `renewed` after training."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_begin(self, logs=None):
        self.steps.append(self.model.train_function)

    def on_epoch_begin(self, epoch, logs=None):
        self.steps.append(self.model.train_function)

    @property
    def renewed(self):
        pairs = zip(self.steps, self.steps[1:], strict=False)
        return [before is not after for before, after in pairs]
