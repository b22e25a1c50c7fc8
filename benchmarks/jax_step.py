"""A training step for JAX that is compiled ahead of time."""

import time

import jax
import keras


class TrainingStep:
    """A compiled training step whose state stays on the device.

    Args:
        model: A built model.
        loss: Function of labels and outputs.
        x: Array of inputs.
        y: Array of labels.
        of_inputs: Boolean. Whether the gradient of the inputs is also computed,
            as inside a network.
    """

    def __init__(self, model, loss, x, y, of_inputs=False):
        optimizer = keras.optimizers.SGD(1e-4)
        optimizer.build(model.trainable_variables)

        def compute(trained, x, others, y):
            outputs, others = model.stateless_call(
                trained, others, x, training=True
            )
            return loss(y, outputs), others

        differentiate = jax.value_and_grad(
            compute, (0, 1) if of_inputs else 0, has_aux=True
        )

        def step(state, x, y):
            trained, others, moments = state
            (value, others), found = differentiate(trained, x, others, y)
            slopes, upstream = found if of_inputs else (found, None)
            trained, moments = optimizer.stateless_apply(
                moments, slopes, trained
            )
            return (trained, others, moments), value, upstream

        # Uses copies because the step donates its state, which the model must
        # keep.
        self.state = jax.tree.map(
            jax.numpy.array,
            tuple(
                [variable.value for variable in variables]
                for variables in (
                    model.trainable_variables,
                    model.non_trainable_variables,
                    optimizer.variables,
                )
            ),
        )
        self.data = jax.device_put((x, y))
        began = time.perf_counter()
        lowered = jax.jit(step, donate_argnums=0).lower(self.state, *self.data)
        self.compiled = lowered.compile()
        self.compile_seconds = time.perf_counter() - began

    @property
    def memory(self):
        """Memory of the step apart from its inputs and outputs, in MiB."""
        analysis = self.compiled.memory_analysis()
        return analysis.temp_size_in_bytes / 2**20 if analysis else None

    def run(self, steps):
        """Runs some steps and waits for the last one."""
        for _ in range(steps):
            self.state, value, _ = self.compiled(self.state, *self.data)
        return float(value)
