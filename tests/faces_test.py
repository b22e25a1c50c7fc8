import inspect

import keras_lip
from tests.lipschitz_test_case import LipschitzTestCase


class FacesTest(LipschitzTestCase):
    """What `import keras_lip` shows."""

    def test_old_names_warn_of_the_new_ones(self):
        with self.assertWarnsRegex(DeprecationWarning, "is now `keras_lip.exp"):
            found = keras_lip.certificates.saliency_maps
        self.assertIs(found, keras_lip.explanations.saliency_maps)
        with self.assertRaisesRegex(AttributeError, "no attribute 'nothing'"):
            keras_lip.certificates.nothing  # noqa: B018

    def test_rooms_show_their_public_names_alone(self):
        for room in ("certificates", "explanations"):
            face = getattr(keras_lip, room)
            self.assertEqual(dir(face), sorted(face.__all__))
            for name in face.__all__:
                self.assertFalse(inspect.ismodule(getattr(face, name)), name)
