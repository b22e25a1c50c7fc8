"""What classifiers look at, to be drawn."""

import dataclasses
import pathlib

from keras_lip.certificates.draw_saliency import draw_saliency
from keras_lip.certificates.report_files import write_file
from keras_lip.types import Array


@dataclasses.dataclass(frozen=True)
class Saliency:
    """Input gradients of the logits of one or two classifiers.

    Made by `keras_lip.certificates.saliency_maps`.

    Attributes:
        titles: Tuple of the names of the models.
        classes: Tuple of the classes whose logits were differentiated.
        inputs: Array of shape `(num_samples, *input_shape)`, float64.
        gradients: Array of shape
            `(num_models, num_samples, num_classes, *input_shape)`, float64.
        prediction: Integer array of shape `(num_models, num_samples)`.
    """

    titles: tuple[str, ...]
    classes: tuple[int, ...]
    inputs: Array
    gradients: Array
    prediction: Array

    def draw(self) -> bytes:
        """Draws inputs and gradients side by side, as PNG.

        Returns:
            The bytes of the picture. Of color images it shows gradients summed
            over the channels.

        Raises:
            ValueError: If inputs are no images of one channel or three, with
                channels last.
            ImportError: If the extra `report` is not installed.
        """
        return draw_saliency(self)

    def save(
        self, path: str | pathlib.Path, overwrite: bool = False
    ) -> pathlib.Path:
        """Writes the picture to a file, whole or not at all.

        Args:
            path: Path that ends in `.png`.
            overwrite: Boolean. Whether an existing file may be replaced.

        Returns:
            The path written.

        Raises:
            ValueError: If the path ends in something else, exists already or
                cannot be written to, or inputs are no images.
            ImportError: If the extra `report` is not installed.
        """
        path = pathlib.Path(path)
        if path.suffix != ".png":
            raise ValueError(
                "The path of a picture must end in .png. Received: "
                f"{str(path)!r}"
            )
        return write_file(path, self.draw, overwrite)
