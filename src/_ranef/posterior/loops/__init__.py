"""The collapsed log density with its gradient, and exact draws, in loops that numba compiles and that are kept on disk.

One model is one array of doubles (:mod:`_ranef.posterior.packing`), so that what is compiled serves every model, and a
sampler outside Python can call it through a pointer.

With C the cross-products of the first factor's columns against the tail, X and y, and K_i = λM_i⁻¹λᵀ, M_i = I + λᵀA_iλ:

    Q = T − Σ C_iᵀK_iC_i,  H = ΛᵀQΛ + E + s²K,  deviance = Σ log|M_i| + log|H_aa| + r²/s² + ν log 2πσ² + constant

where a are the rows integrated out (tail and coefficients), and r² = vᵀ(H_22 − H_2aH_aa⁻¹H_a2)v is what they leave of
the response less the sampled coefficients, v = (−γ, 1). Backwards, H̄ = H_aa⁻¹ ⊕ 0 + wwᵀ/s² with w = (−H_aa⁻¹H_a2v, v),
Q̄ = ΛH̄Λᵀ, and ∂/∂Λ = 2QΛH̄. With L_iL_iᵀ = M_i, S_i = L_i⁻¹, U_i = M_i⁻¹λᵀC_i, V_i = U_iQ̄ and Y_i = M_i⁻¹ + V_iU_iᵀ it is
∂/∂λ = 2 Σ A_iλY_i − C_iV_iᵀ, and in the cross-products T̄ = Q̄, C̄_i = −2λV_i and Ā_i = λY_iλᵀ: nothing is divided by λ.
Levels stand on the last axis, where processors
work on several at once.

Row i of H is zero before `first[i]`, and what is below the block of rows that begins at j is so from `reach[j]` to the
coefficients (:func:`_ranef.posterior.blocks.skyline`); that is so of its Cholesky factor L, too, and only there H̄ is
needed: from Z = H_aa⁻¹ and ZL = L⁻ᵀ follow the entries Z_ij = (δ_ij/L_jj − Σ_{k>j} Z_ik L_kj)/L_jj from the last column
on (Takahashi, Fagan & Chen 1973). Nested factors have short rows, and cost what their levels are, not the cube.
"""

from _ranef.posterior.loops.densities import c_copy, c_density, density
from _ranef.posterior.loops.draws import draw_effects
from _ranef.posterior.loops.likelihoods import likelihood, likelihood_of_products, log_likelihood
from _ranef.posterior.loops.prior_terms import hyper_backward, hyper_forward

__all__ = [
    "c_copy",
    "c_density",
    "density",
    "draw_effects",
    "hyper_backward",
    "hyper_forward",
    "likelihood",
    "likelihood_of_products",
    "log_likelihood",
]
