"""What stands where in a packed model (:mod:`_ranef.posterior.packing`), and how its loops are compiled."""

from __future__ import annotations

from _ranef.linalg.numba_jit import compiled

#: for functions that Python calls
outer = compiled(nogil=True, error_model="numpy")

#: for functions that only other compiled functions call: without a way in from Python they compile faster
inner = compiled(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)

#: for sums over levels, which may then be vectorised
vector = compiled(
    nogil=True,
    error_model="numpy",
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
    fastmath={"reassoc", "contract", "nsz"},
)

#: where place and length of the arrays of a packed model stand in its header: :data:`_ranef.posterior.packing.PARTS`
AT_SIZES, AT_LEVELS, AT_INDPTR, AT_COLS, AT_FIRST, AT_REACH, AT_A, AT_VALUES, AT_C, AT_TAIL, AT_K = range(0, 22, 2)
AT_TERMS, AT_FILL, AT_PRIORS, AT_NUMBERS, AT_ORIGIN, AT_VINE, AT_LAW, AT_COUNTS = range(22, 38, 2)
AT_CENTRE, AT_ROOT, AT_PARTS = range(38, 44, 2)

#: what stands where in its array of numbers: degrees of freedom, the unit of y, the constant, σ where it is known, how
#: many standard deviations and partial correlations there are, whether λ is sampled as it is, how many θ,
#: columns of [X y], columns of these with the tail, which law residuals have (0 where they have none), and how many ρ
NU, UNIT, CONSTANT, KNOWN, N_SD, N_PARTIAL, FLAT, N_THETA, COEFFICIENTS, BORDERED, LAW, N_RHO = range(12)


@inner
def part_of(u, header):  # type: ignore[no-untyped-def]
    """An array of a packed model, flat: `header` begins with its place and length, those of array k at 2k and 2k + 1.

    It is given as a slice, not as k: numba would compile this anew for every k.
    """
    first = int(header[0])
    return u[first : first + int(header[1])]


@inner
def copy_matrix(source, target):  # type: ignore[no-untyped-def]
    """Copy a matrix; assigning to a slice would take numba seconds to compile."""
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            target[i, j] = source[i, j]
