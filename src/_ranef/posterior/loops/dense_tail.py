"""The dense tail behind the first factor: H, its factor, and the way back to Λ."""

from __future__ import annotations

import math

import numpy as np

from _ranef.posterior.loops.packed_places import inner
from _ranef.posterior.loops.vectors import add_scaled, dot_within

__all__ = ["adjoint", "cholesky", "corner_back", "fill_upper", "scale_tail", "tail_back"]


@inner
def scale_tail(lam, sizes, levels, first, reach, R, H):  # type: ignore[no-untyped-def]
    """Turn the symmetric Q, in R, into QΛ, and fill the lower triangle of H = ΛᵀR + E."""
    m, t = R.shape[0], reach.shape[0]
    row, at = 0, int(sizes[0]) * int(sizes[0])
    scaled = np.empty(t)
    for f in range(1, sizes.shape[0]):
        p = int(sizes[f])
        for _ in range(int(levels[f])):
            for border in range(2):
                low, high = (t, m) if border else (int(first[row]), int(reach[row]))
                for x in range(low, high):
                    for k in range(p):
                        scaled[k] = 0.0
                        for a in range(p):
                            scaled[k] += R[x, row + a] * lam[at + a * p + k]
                    for k in range(p):
                        R[x, row + k] = scaled[k]
            row += p
        at += p * p
    for x in range(t, m):
        for y in range(x + 1):
            H[x, y] = R[x, y]
    row, at = 0, int(sizes[0]) * int(sizes[0])
    for f in range(1, sizes.shape[0]):
        p = int(sizes[f])
        for _ in range(int(levels[f])):
            for k in range(p):
                for y in range(int(first[row]), row + k + 1):
                    total = 0.0
                    for a in range(p):
                        total += lam[at + a * p + k] * R[row + a, y]
                    H[row + k, y] = total
                H[row + k, row + k] += 1.0
            row += p
        at += p * p


@inner
def fill_upper(Q, first):  # type: ignore[no-untyped-def]
    for i in range(Q.shape[0]):
        for j in range(int(first[i]), i):
            Q[j, i] = Q[i, j]


@inner
def cholesky(H, first):  # type: ignore[no-untyped-def]
    """Lower factor in place of the lower triangle, each row from its first entry on; false where there is none."""
    for i in range(H.shape[0]):
        row, low = H[i], int(first[i])
        for j in range(low, i):
            row[j] = (row[j] - dot_within(row, H[j], max(low, int(first[j])), j)) / H[j, j]
        total = row[i] - dot_within(row, row, low, i)
        if not total > 0.0:
            return False
        row[i] = math.sqrt(total)
    return True


@inner
def adjoint(H, first, reach, v, s2, Hbar):  # type: ignore[no-untyped-def]
    """Fill zeros with H̄ (symmetric) where H may have entries, from its factor H; log|H_aa| and r²."""
    m, e, t = H.shape[0], v.shape[0], reach.shape[0]
    a = m - e
    w, column = np.zeros(m), np.zeros(a)
    log_det, rss = 0.0, 0.0
    for j in range(e):
        w[a + j] = v[j]
        total = 0.0
        for i in range(j, e):
            total += H[a + i, a + j] * v[i]
        rss += total * total
        add_scaled(w[:a], -v[j], H[a + j, :a])
    for j in range(a - 1, -1, -1):
        log_det += 2.0 * math.log(H[j, j])
        w[j] /= H[j, j]
        add_scaled(w[int(first[j]) : j], -w[j], H[j, int(first[j]) : j])
        end, border = (int(reach[j]), t) if j < t else (a, a)
        for part in range(2):
            for i in range(border if part else j + 1, a if part else end):
                column[i] = H[i, j] if first[i] <= j else 0.0
        for part in range(2):
            for i in range(border if part else j + 1, a if part else end):
                if first[i] <= j:
                    total = dot_within(Hbar[i], column, j + 1, end) + dot_within(Hbar[i], column, border, a)
                    Hbar[i, j] = -total / H[j, j]
                    Hbar[j, i] = Hbar[i, j]
        total = dot_within(Hbar[j], column, j + 1, end) + dot_within(Hbar[j], column, border, a)
        Hbar[j, j] = (1.0 / H[j, j] - total) / H[j, j]
    for i in range(m):
        for j in range(int(first[i]), i + 1):
            Hbar[i, j] += w[i] * w[j] / s2
            Hbar[j, i] = Hbar[i, j]
    return log_det, rss


@inner
def tail_back(lam, sizes, levels, first, reach, R, Hbar, lam_bar):  # type: ignore[no-untyped-def]
    """Add 2 QΛH̄ by blocks to `lam_bar`, and turn H̄ into Q̄ = ΛH̄Λᵀ."""
    m, t = R.shape[0], reach.shape[0]
    row, at = 0, int(sizes[0]) * int(sizes[0])
    column = np.empty(t)
    for f in range(1, sizes.shape[0]):
        p = int(sizes[f])
        for _ in range(int(levels[f])):
            low, high = int(first[row]), int(reach[row])
            for a in range(p):
                for k in range(p):
                    of_Q, of_H = R[row + a], Hbar[row + k]
                    total = dot_within(of_Q, of_H, low, high) + dot_within(of_Q, of_H, t, m)
                    lam_bar[at + a * p + k] += 2.0 * total
            row += p
        at += p * p
    for transposed in range(2):
        row, at = 0, int(sizes[0]) * int(sizes[0])
        for f in range(1, sizes.shape[0]):
            p = int(sizes[f])
            for _ in range(int(levels[f])):
                for border in range(2):
                    low, high = (t, m) if border else (int(first[row]), int(reach[row]))
                    for x in range(low, high):
                        for a in range(p):
                            total = 0.0
                            for k in range(p):
                                value = Hbar[row + k, x] if transposed else Hbar[x, row + k]
                                total += lam[at + a * p + k] * value
                            column[a] = total
                        for a in range(p):
                            if transposed:
                                Hbar[row + a, x] = column[a]
                            else:
                                Hbar[x, row + a] = column[a]
                row += p
            at += p * p


@inner
def corner_back(H, K, v, s2, rss, Hbar, v_bar):  # type: ignore[no-untyped-def]
    """Derivative of the deviance in s², but for that of ν log 2πσ²; that in v is filled in."""
    m, r, e = H.shape[0], K.shape[0], v.shape[0]
    s2_bar = -rss / (s2 * s2)
    for i in range(r):
        for j in range(r):
            s2_bar += Hbar[m - r + i, m - r + j] * K[i, j]
    a = m - e
    for i in range(e):
        total = 0.0
        for j in range(e):
            for k in range(j, e):
                if j <= i:
                    total += H[a + i, a + j] * H[a + k, a + j] * v[k]
        v_bar[i] = 2.0 * total / s2
    return s2_bar
