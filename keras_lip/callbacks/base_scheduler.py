"""The base class of callbacks that set a hyperparameter each epoch."""

import abc
import functools
from collections.abc import Callable
from typing import Any

import keras


class BaseScheduler(keras.callbacks.Callback, abc.ABC):
    """Sets an attribute of some objects at the start of each epoch.

    TensorFlow and JAX compile the attribute's value into the training step. The
    steps of the model are therefore compiled again in every epoch that changes
    the value, and only in these epochs.

    The value is checked like an argument of the object's constructor. It
    depends only on the epoch, so training can be resumed with
    `fit(initial_epoch=...)`.

    Subclasses define the objects in `find_targets`.

    Args:
        schedule: Function of the epoch, an integer from zero, that returns the
            value.
        parameter: String. Name of the attribute, as in the objects' configs.
        log_name: String. Key of the value in the logs of the epoch.
    """

    def __init__(
        self, schedule: Callable[[int], Any], parameter: str, log_name: str
    ) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                "`schedule` must be a function of the epoch. Received: "
                f"schedule={schedule!r}"
            )
        self.schedule = schedule
        self.parameter = parameter
        self.log_name = log_name

    @abc.abstractmethod
    def find_targets(self) -> list[Any]:
        """Returns the objects to set, or raises an error if there are none.

        If all objects are frozen, the result is empty.
        """

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        value = self.schedule(epoch)
        changed = False
        for target in self.find_targets():
            config = {**target.get_config(), self.parameter: value}
            checked = getattr(type(target).from_config(config), self.parameter)
            if checked != getattr(target, self.parameter):
                setattr(target, self.parameter, checked)
                changed = True
        if changed:
            _reset_steps(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        targets = self.find_targets()
        if logs is not None and targets:
            logs[self.log_name] = getattr(targets[0], self.parameter)


def _reset_steps(model: keras.Model) -> None:
    """Makes a model trace its compiled functions again, also during `fit`."""
    model.predict_function = None
    # `fit` creates the training step only once, before the first epoch.
    _remake(model, "train_step", model.make_train_function)
    _remake(model, "test_step", model.make_test_function)


def _remake(model: keras.Model, name: str, make: Callable[..., Any]) -> None:
    # JAX does not trace a step again while an equal function is referenced
    # anywhere, for instance by the traceback of an interrupted epoch. Bound
    # methods of the same model are equal, but a partial function is only equal
    # to itself.
    own = vars(model).get(name)
    setattr(model, name, functools.partial(getattr(model, name)))
    make(force=True)
    delattr(model, name)
    if own is not None:
        setattr(model, name, own)
