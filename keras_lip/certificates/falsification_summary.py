"""What attacks on a certification found, short of falsifying it."""

from typing import NamedTuple


class FalsificationSummary(NamedTuple):
    """How near attacks came to what was certified.

    Attributes:
        num_attacked: Integer. How many samples were attacked: those with a
            radius above zero.
        nearest: Float. The least distance, over the certified radius, at which
            an attack has changed an answer; above one, infinite if none did.
            What lies between is either slack of the certificate or weakness of
            the attacks.
        stretch: Float. The largest stretch of a distance that was measured.
        lipschitz_bound: Float. The proven bound, which is no smaller.
        attacks: Tuple of strings. Names of the attacks.
    """

    num_attacked: int
    nearest: float
    stretch: float
    lipschitz_bound: float
    attacks: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.num_attacked} certified samples attacked by "
            f"{', '.join(self.attacks)}: none falsified\n"
            f"Nearest change of an answer: {self.nearest:.6g} times the "
            "certified radius\n"
            f"Largest stretch measured: {self.stretch:.6g}, bound: "
            f"{self.lipschitz_bound:.6g}"
        )
