"""What the symbols of equations of generalised responses stand for: densities of rows by JAX, all else dense."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy

import oracle
from _ranef.equations.evaluating import evaluated
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import Call, Law, Symbol
from _ranef.likelihood import fit_pilot
from equations.truth import Truth

LINKS = {
    "logit": scipy.special.logit,
    "probit": scipy.stats.norm.ppf,
    "cloglog": lambda p: np.log(-np.log1p(-p)),
    "log": np.log,
}
MEANS = {
    "logit": jax.nn.sigmoid,
    "probit": jax.scipy.stats.norm.cdf,
    "cloglog": lambda eta: -jnp.expm1(-jnp.exp(eta)),
    "log": jnp.exp,
}


def log_density(word, y, mean, weight, own):
    """Of one row, as a function of its mean, without constants."""
    if word == "binomial":
        return weight * (y * jnp.log(mean) + (1 - y) * jnp.log(1 - mean))
    if word == "poisson":
        return weight * (y * jnp.log(mean) - mean)
    if word == "negative binomial":
        size = own["size"]
        return weight * (y * jnp.log(mean) - (y + size) * jnp.log(mean + size))
    return weight * (-jnp.log(mean) - y / mean) / own["dispersion"]


LAWS = {
    "Bernoulli": lambda y, p: scipy.stats.bernoulli.logpmf(y, p),
    "Binomial": lambda y, n, p: scipy.stats.binom.logpmf(np.round(y), np.round(n), p),
    "Poisson": scipy.stats.poisson.logpmf,
    "NegBinomial": lambda y, mu, size: scipy.stats.nbinom.logpmf(y, size, size / (size + mu)),
    "Gamma": lambda y, mu, phi: scipy.stats.gamma.logpdf(y, 1 / phi, scale=mu * phi),
}


class LinkedTruth(Truth):
    """One model with numbers for β, θ and dispersions, at the conditional mode of b."""

    def __init__(self, spec, seed=1, level=None, group=None, data=None):
        rng = np.random.default_rng(seed)
        self.spec, self.d, self.data, self.sigma, self.coefficients = spec, spec.design, data, 1.0, {}
        lambdas = [0.3 * lam for lam in spec.lambdas(oracle.interior(spec, seed))]
        self.covariances = [lam @ lam.T for lam in lambdas]
        self.beta = fit_pilot(spec, spec.family).beta * rng.uniform(0.9, 1.1, spec.n_fixed)
        self.own = {name: rng.uniform(0.5, 2.0) for name in spec.family.dispersions}
        self.h = np.ones(spec.n_obs)
        n = spec.n_obs
        self.offset = np.zeros(n) if self.d.offset is None else self.d.offset
        self.weights = np.ones(n) if self.d.weights is None else self.d.weights
        self.letters = {Symbols(spec).letter(k): k for k in range(len(spec.groupings))}
        self.b = [np.zeros((g.n_levels, len(g.columns))) for g in spec.groupings]
        self.R = np.eye(n)
        self._blocks(lambdas)
        with jax.enable_x64(True):
            self._mode()
        self.R, self.eps = np.diag(1.0 / self.omega), np.full(n, np.nan)
        self.V = self.Z @ self.D @ self.Z.T + self.R
        self._cluster(level, group)

    def _mode(self):
        """By Newton's steps on dense matrices."""
        word, mean = self.spec.family.word, MEANS[self.spec.family.link]

        def density(eta, y, weight):
            return log_density(word, y, mean(eta), weight, self.own)

        slope = jax.jit(jax.vmap(jax.grad(density)))
        bend = jax.jit(jax.vmap(jax.grad(jax.grad(density))))
        ZL, fixed, u = self.Z @ self.Lambda, self.d.X @ self.beta + self.offset, np.zeros(self.Z.shape[1])
        for _ in range(50):
            rows = fixed + ZL @ u, self.d.y, self.weights
            g, omega = np.asarray(slope(*rows)), -np.asarray(bend(*rows))
            step = np.linalg.solve(np.eye(len(u)) + (ZL.T * omega) @ ZL, ZL.T @ g - u)
            u = u + step
        assert np.abs(step).max(initial=0.0) < 1e-12
        self.u, self.eta, self.g, self.omega = u[:, None], rows[0], g, omega
        self.mean, self.z, self.all_b = np.asarray(mean(self.eta)), self.eta + g / omega, self.Lambda @ self.u
        self.bs = np.split(self.all_b, np.cumsum([Z.shape[1] for Z in self.Zs])[:-1])
        for t, own in zip(self.spec.terms, self.bs, strict=True):
            self.b[t.grouping][:, t.where] = own.reshape(-1, len(t.columns))

    @property
    def counts(self):
        """The response as its distribution has it: successes, where it has trials."""
        return self.d.y * self.weights if self.spec.family.word == "binomial" else self.d.y

    def cluster(self, letter):
        r = self.rows
        if letter == "W":
            return np.diag(self.omega[r])
        rows = {"y": self.counts, "n": self.weights, "p": self.mean, "μ": self.mean, "z": self.z}
        return rows[letter][r][:, None] if letter in rows else super().cluster(letter)

    def __call__(self, node):
        if isinstance(node, Call):
            return LINKS[node.function](*(evaluated(a, self) for a in node.arguments))
        by_row = {
            "mean": self.mean,
            "working weight": self.omega,
            "working response": self.z,
            "predictor": self.eta,
            "slope": self.g,
            "trials": self.weights,
            "response": self.counts,
        }
        columns = {"means": self.mean, "predictors": self.eta, "working responses": self.z}
        match getattr(node, "key", None):
            case (kind, int(row)) if kind in by_row:
                return by_row[kind][row]
            case (kind,) if kind in by_row:
                return self.indexed(by_row[kind], node.below[0])
            case (kind,) if kind in columns:
                return columns[kind][:, None]
            case ("u",):
                return self.u
            case ("working W",):
                return np.diag(self.omega)
            case ("dispersion", name):
                return self.own[name]
        return super().__call__(node)

    def run(self, node):
        return list(self.omega) if node.symbol.key == ("working weights",) else super().run(node)

    def left(self, line):
        match line.left:
            case Call("Var" | "Cov", rows) if rows[0].key[0] == "working response":
                return self.V[rows[0].key[1], rows[-1].key[1]]
            case Call("Var", (Symbol(_, _, (kind, *_)),)):
                return self.cluster("V") if kind.endswith("of cluster") else self.V
        return super().left(line)

    def distribution(self, line):
        """Laws of rows are compared by their densities."""
        if not (isinstance(line.right, Law) and line.right.name in LAWS and self.is_row(line.left)):
            return super().distribution(line)
        y, arguments = evaluated(line.left, self), [evaluated(a, self) for a in line.right.arguments]
        own = LAWS[line.right.name](y, *arguments).ravel()
        rows = self.rows if len(own) < self.spec.n_obs else slice(None)
        word = self.spec.family.word
        law = {"binomial": "Binomial", "poisson": "Poisson", "negative binomial": "NegBinomial", "gamma": "Gamma"}[word]
        more = [self.weights[rows]] if word == "binomial" else []
        truth = LAWS[law](self.counts[rows], *more, self.mean[rows], *self.own.values())
        np.testing.assert_allclose(own, truth, rtol=1e-9, atol=1e-9)
        return 1

    def is_row(self, left):
        return getattr(left, "key", ("", ""))[0] not in ("sd", "fixef", "cor", "dispersion", "ranef")
