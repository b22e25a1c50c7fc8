from keras_lip import parametrizations


class ScaledCayley(parametrizations.Cayley):
    """A parametrization of a user, whose config lacks its factor."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def __call__(self, matrix, state, training=False):
        kernel, state = super().__call__(matrix, state, training)
        return self.factor * kernel, state
