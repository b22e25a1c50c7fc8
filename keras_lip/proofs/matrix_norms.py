"""Proven upper bounds on the norms of matrices."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_lip.proofs.method_notes import note_method
from keras_lip.proofs.rounding import UNDERFLOW
from keras_lip.proofs.rounding import UNIT_ROUNDOFF
from keras_lip.proofs.rounding import add_down
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import divide_up
from keras_lip.proofs.rounding import frobenius_norm_up
from keras_lip.proofs.rounding import gamma
from keras_lip.proofs.rounding import inflate_up
from keras_lip.proofs.rounding import multiply_down
from keras_lip.proofs.rounding import multiply_up
from keras_lip.proofs.rounding import product_error_up
from keras_lip.proofs.rounding import scale_to_unit
from keras_lip.proofs.rounding import sqrt_down
from keras_lip.proofs.rounding import sqrt_up


def row_sum_bound(
    kernel: npt.ArrayLike, axes: int | Sequence[int] = 0
) -> float:
    """Bounds the operator norm of a linear map in the l-infinity norm.

    This norm is the largest sum of the absolute weights of one output. Zero
    padding omits some of these weights at the border, and circular padding
    omits none.

    Args:
        kernel: Real array, converted to float64.
        axes: Integer, or several. The axes over which the inputs of one output
            run: `0` for the kernel of a dense layer of shape `(inputs,
            outputs)`, all axes but the last for the kernel of a convolution.

    Returns:
        Float. The bound, rounded up; `inf` if an entry is not finite.

    Example:

    >>> 7.0 <= row_sum_bound([[3.0, 1.0], [-4.0, 0.0]]) < 7.0 + 1e-13
    True
    """
    note_method("sums of magnitudes")
    kernel = np.asarray(kernel).astype(np.float64)
    if not np.all(np.isfinite(kernel)):
        return math.inf
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    terms = math.prod(kernel.shape[axis] for axis in axes)
    with np.errstate(over="ignore"):
        sums = np.sum(np.abs(kernel), axis=axes)
    return inflate_up(float(np.max(sums, initial=0.0)), terms)


def largest_eigenvalue_bound(
    grams: npt.NDArray[Any], guess: float = 0.0
) -> float:
    """Bounds the largest eigenvalue of Gram matrices, from above.

    If a Cholesky factorization of `shift * I - gram` runs to completion, no
    eigenvalue exceeds `shift` by more than the backward error of the
    factorization. The proof does not depend on how the shift was guessed.

    The proof assumes that the factorization of LAPACK sums products and solves
    triangular systems by substitution in IEEE arithmetic. The order is
    arbitrary, and blocks are allowed. Strassen's products and inverted blocks
    are not covered.

    Args:
        grams: Float64 or complex128 array of shape `(..., n, n)`, with entries
            scaled to the order of one. It must be Hermitian up to rounding: the
            bound holds for the Hermitian matrix with the same lower triangle
            and the real part of the diagonal.
        guess: Float. Guess of the largest of all eigenvalues, which may save
            its computation. A guess that is too large makes the bound less
            tight; a guess that is too small only costs time.

    Returns:
        Float. It is at least every eigenvalue of every matrix. If `guess` is
        zero, it exceeds the largest eigenvalue by a relative error of about
        `n^2 * 1e-16`. `inf` if the factorization fails.

    Reference:

    - [Rump, 2006](https://doi.org/10.1007/s10543-006-0056-1)
    - [Higham, 2002](https://doi.org/10.1137/1.9780898718027), Theorem 10.3.
    """
    if guess > 0:
        bound = _bound_by_shifting(grams, guess)
        if math.isfinite(bound):
            return bound
    for estimate_largest in (_estimate_largest, _compute_largest):
        try:
            estimate = estimate_largest(grams)
        except np.linalg.LinAlgError:
            continue
        # The factorization needs all eigenvalues above about `n u shift`.
        for margin in (32, 32**2, 32**3):
            inflation = 1 + margin * grams.shape[-1] * UNIT_ROUNDOFF
            bound = _bound_by_shifting(grams, estimate * inflation)
            if math.isfinite(bound):
                return bound
    return math.inf


def are_bounded(grams: npt.NDArray[Any], bound: float) -> npt.NDArray[np.bool_]:
    """Tries to prove that no eigenvalue of Gram matrices exceeds a bound.

    Args:
        grams: As for `largest_eigenvalue_bound`.
        bound: Float.

    Returns:
        Boolean array of shape `(...)`. The bound is proven for each matrix
        whose entry is true.
    """
    size = grams.shape[-1]
    flat = grams.reshape(-1, size, size)
    # Twice the error, because `trace(shift * I - gram) <= size * shift`.
    error = 2 * size * _factorization_error(size, np.iscomplexobj(grams))
    shift = bound * (1 - error - 4 * UNIT_ROUNDOFF)
    proven = np.zeros(len(flat), bool)
    if not 0 < shift < math.inf or not len(flat):
        return proven.reshape(grams.shape[:-2])
    likely = np.arange(len(flat))
    if size <= _SMALL:
        # Factors all likely matrices at once: if one fails, the whole call
        # fails.
        likely = np.flatnonzero(_largest_of_each(flat) < shift * (1 - error))
        if len(likely) and _bound_by_shifting(flat[likely], shift) <= bound:
            proven[likely] = True
            likely = likely[:0]
    for index in likely:
        proven[index] = _bound_by_shifting(flat[index], shift) <= bound
    return proven.reshape(grams.shape[:-2])


_SMALL = 16


def _largest_of_each(grams: npt.NDArray[Any]) -> npt.NDArray[Any]:
    try:
        return np.linalg.eigvalsh(grams)[..., -1]
    except np.linalg.LinAlgError:
        return np.full(grams.shape[:-2], math.inf)


# A wrong shift or factor may overflow. Then the bound is infinite.
@np.errstate(over="ignore", invalid="ignore")
def _bound_by_shifting(grams: npt.NDArray[Any], shift: float) -> float:
    """Bounds the eigenvalues by a shift plus the errors of the proof.

    Let `A` be the matrix that is factored. If the factorization runs to
    completion, its factor `L` satisfies `L L^H = A + E` with `|E_ij| <= c |L_i|
    |L_j|` (Higham, Theorem 10.3), where `L_i` are the rows of `L`. The diagonal
    entries give `|L_i|^2 <= A_ii / (1 - c)`. So `|E| <= trace(|L| |L|^T) c <= c
    / (1 - c) trace(A)`. `L L^H` has no negative eigenvalue, so the eigenvalues
    of `A` are at least `-c / (1 - c) trace(A)` (Rump, Theorem 2.3).
    """
    size = grams.shape[-1]
    shifted = -grams
    diagonal = np.einsum("...ii->...i", shifted)  # A view.
    diagonal += shift
    try:
        factor = np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        return math.inf
    # LAPACK may not detect NaN. It is detected here.
    roots = np.einsum("...ii->...i", factor).real
    if not np.all((roots > 0) & (roots < math.inf)):
        return math.inf
    if not _is_factor(factor, shifted):
        return math.inf
    diagonal = diagonal.real
    trace = inflate_up(float(np.max(np.sum(diagonal, axis=-1))), size)
    error = _factorization_error(size, np.iscomplexobj(grams))
    # The error of an addition is at most `u` times its result, and the norm of
    # a diagonal matrix is its largest entry.
    return add_up(
        shift,
        multiply_up(error, trace),
        multiply_up(UNIT_ROUNDOFF, float(np.max(diagonal))),
        UNDERFLOW,
    )


def _factorization_error(size: int, is_complex: bool) -> float:
    """Returns `c / (1 - c)` of `_bound_by_shifting`, rounded up."""
    # The computation of an entry of the factor uses at most `size` products,
    # the entry of the matrix, and a square root or a division, which may be a
    # product with the reciprocal. Its error is `gamma(size + 3)`. For complex
    # numbers, the real and the imaginary part each sum twice as many products,
    # whose moduli add up to at most `|L_i| |L_j|`. So the error of the modulus
    # is `sqrt(2)` times `gamma(2 * size + 3)`. With three real products instead
    # of four, it is `sqrt(10)` times `gamma(size + 8)`. Twice `gamma(2 * size +
    # 16)` covers both, as in `product_error_up`.
    error = gamma(size + 4)
    if is_complex:
        error = multiply_up(2.0, gamma(2 * size + 16))
    return divide_up(error, -add_up(-1.0, error))


def _is_factor(factors: npt.NDArray[Any], matrices: npt.NDArray[Any]) -> bool:
    """Checks with one row that the library is not grossly broken.

    This is not part of the proof, which assumes that LAPACK is backward stable.
    """
    size = matrices.shape[-1]
    # The last row of the lower triangle, which LAPACK reads, is a whole row.
    row = matrices[..., -1, :].copy()
    row[..., -1] = row[..., -1].real
    last = factors[..., -1, :, None].conj()
    residual = np.abs((factors @ last)[..., 0].conj() - row)
    scale = np.max(np.einsum("...ii->...i", matrices).real)
    return bool(np.max(residual) <= 2.0**-40 * size**2 * scale)


def _estimate_largest(grams: npt.NDArray[Any]) -> float:
    size = grams.shape[-1]
    if size < _LANCZOS_SIZE:
        return _compute_largest(grams)
    flat = grams.reshape(-1, size, size)
    start = np.random.default_rng(0).standard_normal((size,))
    return max(leading_pair(gram, start)[0] for gram in flat)


def _compute_largest(grams: npt.NDArray[Any]) -> float:
    return float(np.max(np.linalg.eigvalsh(grams)))


_LANCZOS_SIZE = 256
_LANCZOS_STEPS = 300


def leading_pair(
    gram: npt.NDArray[Any],
    start: npt.NDArray[Any],
    steps: int = _LANCZOS_STEPS,
) -> tuple[float, npt.NDArray[Any]]:
    """Estimates the largest eigenvalue and its vector by the Lanczos method.

    Args:
        gram: Hermitian array of shape `(n, n)`.
        start: Array of shape `(n,)`, not zero.
        steps: Integer. Maximum number of products with the matrix.

    Returns:
        Tuple of a float and an array of shape `(n,)` with norm one. The float
        approximates the largest eigenvalue, but is not a bound.
    """
    size = len(gram)
    steps = min(steps, size)
    basis = np.empty((steps, size), gram.dtype)
    basis[0] = start / np.linalg.norm(start)
    tridiagonal = np.zeros((steps, steps))
    value = 0.0
    for step in range(steps):
        image = gram @ basis[step]
        tridiagonal[step, step] = np.vdot(basis[step], image).real
        # Orthogonalizing twice is enough (Parlett, 1980).
        for _ in range(2):
            known = basis[: step + 1]
            image = image - (known.conj() @ image) @ known
        rest = float(np.linalg.norm(image))
        last = step + 1 == steps or rest <= 2.0**-45 * abs(tridiagonal[0, 0])
        if step % 10 == 9 or last:
            part = tridiagonal[: step + 1, : step + 1]
            values, vectors = np.linalg.eigh(part)
            # The error is of the order of the square of the residual.
            residual = rest * abs(vectors[-1, -1])
            gain = values[-1] - value
            value = float(values[-1])
            last = last or (
                residual < 2.0**-20 * value
                and gain < size * UNIT_ROUNDOFF * value
            )
        if last:
            break
        tridiagonal[step, step + 1] = tridiagonal[step + 1, step] = rest
        basis[step + 1] = image / rest
    return value, vectors[:, -1] @ basis[: step + 1]


def spectral_norm_bound(matrix: npt.ArrayLike) -> float:
    """Computes an upper bound on the largest singular value of matrices.

    The bound is proven for the given numbers, including all rounding errors. It
    exceeds the singular value by a relative error of at most about `rows *
    columns * 1e-16`.

    Args:
        matrix: Real or complex array of shape `(..., rows, columns)`,
            converted to double precision.

    Returns:
        Float. The largest bound of the batch. `inf` if an entry is not finite,
        and zero if there are no entries.

    Example:

    >>> 5.0 <= spectral_norm_bound([[3.0, 0.0], [4.0, 0.0]]) < 5.0 + 1e-13
    True
    """
    note_method("singular values")
    matrix = np.asarray(matrix)
    if matrix.ndim < 2:
        raise ValueError(
            "`matrix` must have at least two dimensions. "
            f"Received: matrix.shape={matrix.shape}"
        )
    is_complex = np.iscomplexobj(matrix)
    matrix = matrix.astype(
        np.complex128 if is_complex else np.float64, copy=False
    )
    if not np.all(np.isfinite(matrix)):
        return math.inf
    if not np.any(matrix):
        return 0.0
    # Scaling by a power of two keeps products in range, at no cost in accuracy.
    matrix, scale = scale_to_unit(matrix)
    # Uses the smaller Gram matrix: the transpose has the same singular values.
    if matrix.shape[-2] < matrix.shape[-1]:
        matrix = np.swapaxes(matrix, -2, -1)
    norm = frobenius_norm_up(matrix)
    gram = np.swapaxes(matrix, -2, -1).conj() @ matrix
    gram_error = product_error_up(norm, norm, matrix.shape[-2], is_complex)
    eigenvalue = add_up(largest_eigenvalue_bound(gram), gram_error)
    return multiply_up(scale, min(norm, sqrt_up(eigenvalue)))


def smallest_singular_value_bound(matrix: npt.ArrayLike) -> float:
    """Computes a lower bound on `|A x| / |x|` for a matrix `A`.

    The smallest eigenvalue of `G = A^T A` is `s` minus the largest eigenvalue
    of `s I - G`, for any `s`. The bound is proven for the given numbers,
    including all rounding errors. Near one, it is below the singular value by
    about `rows * columns * 1e-16`.

    Args:
        matrix: Real array of shape `(rows, columns)`, converted to float64.

    Returns:
        Float, at least zero. Zero if the matrix has fewer rows than columns, or
        if an entry is not finite.

    Example:

    >>> 3.0 - 1e-12 < smallest_singular_value_bound([[3, 0], [0, 4]]) <= 3.0
    True
    """
    note_method("smallest singular value")
    matrix = np.asarray(matrix).astype(np.float64)
    rows, columns = matrix.shape
    if rows < columns or not columns or not np.all(np.isfinite(matrix)):
        return 0.0
    if not np.any(matrix):
        return 0.0
    matrix, scale = scale_to_unit(matrix)
    norm = frobenius_norm_up(matrix)
    gram = matrix.T @ matrix
    gram_error = product_error_up(norm, norm, rows, is_complex=False)
    # Twice a bound on the largest eigenvalue: `s I - G` is then far from zero.
    shift = 2 * largest_eigenvalue_bound(gram)
    if not math.isfinite(shift):
        return 0.0
    shifted = -gram
    diagonal = np.einsum("ii->i", shifted)  # A view.
    diagonal += shift
    # A sum is rounded by at most `u` times the result.
    largest = float(np.max(np.abs(diagonal)))
    rest = add_up(
        largest_eigenvalue_bound(shifted),
        gram_error,
        multiply_up(UNIT_ROUNDOFF, largest),
    )
    smallest = sqrt_down(add_down(shift, -rest))
    return max(0.0, multiply_down(scale, smallest))
