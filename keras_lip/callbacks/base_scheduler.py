"""What callbacks share that set a hyperparameter by epoch."""

import abc
import functools
from collections.abc import Callable
from typing import Any

import keras


class BaseScheduler(keras.callbacks.Callback, abc.ABC):
    """Sets an attribute of some objects at the start of each epoch.

    TensorFlow and JAX compile a number that is an attribute into the training
    step. So the steps of the model are made anew, and compiled at their next
    call, in an epoch that changes the value, and in no other.

    A value is checked as the constructor of the object that receives it does.
    It depends on the number of the epoch alone, so that training resumed with
    `fit(initial_epoch=...)` goes on where it was.

    Subclasses say which objects they set.

    Args:
        schedule: Function of the epoch, an integer from zero, that returns the
            value.
        parameter: String. Name of the attribute, as in the objects' configs.
        log_name: String. Where the value is added to the logs of the epoch.
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
        """Returns the objects to set, or raises if the model has none.

        There are none to set in a model whose objects are all frozen.
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
    """Makes a model trace its compiled functions anew, also during `fit`."""
    model.predict_function = None
    # `fit` makes the training step once, before the first epoch.
    _remake(model, "train_step", model.make_train_function)
    _remake(model, "test_step", model.make_test_function)


def _remake(model: keras.Model, name: str, make: Callable[..., Any]) -> None:
    # JAX traces no step that equals one it has traced before, as long as that
    # is held somewhere, be it by the traceback of an interrupted epoch. Methods
    # of one model are equal; a partial function equals itself alone.
    own = vars(model).get(name)
    setattr(model, name, functools.partial(getattr(model, name)))
    make(force=True)
    delattr(model, name)
    if own is not None:
        setattr(model, name, own)
