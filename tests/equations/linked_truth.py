"""What the symbols of equations of generalised responses stand for: densities of rows by JAX, all else dense."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy

import oracle
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import Call, Law, Symbol
from _ranef.equations.tree_values import evaluated
from _ranef.likelihood import fit_pilot
from _ranef.spec import Rows
from equations.truth import Truth

LINKS = {
    "logit": scipy.special.logit,
    "probit": scipy.stats.norm.ppf,
    "cloglog": lambda p: np.log(-np.log1p(-p)),
    "loglog": lambda p: -np.log(-np.log(p)),
    "cauchit": lambda p: np.tan(np.pi * (p - 0.5)),
    "log": np.log,
}
MEANS = {
    "logit": jax.nn.sigmoid,
    "probit": jax.scipy.stats.norm.cdf,
    "cloglog": lambda eta: -jnp.expm1(-jnp.exp(eta)),
    "loglog": lambda eta: jnp.exp(-jnp.exp(-eta)),
    "cauchit": lambda eta: 0.5 + jnp.arctan(eta) / jnp.pi,
    "log": jnp.exp,
    "identity": lambda eta: eta,
    "sqrt": jnp.square,
    "inverse": lambda eta: 1.0 / eta,
    "1/mu^2": lambda eta: eta**-0.5,
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
    return CONTINUOUS[word](y, mean, weight, **own)


def negative_binomial_1(y, mean, weight, dispersion):
    size, gammaln = mean / dispersion, jax.scipy.special.gammaln
    return weight * (gammaln(y + size) - gammaln(size) - size * jnp.log1p(dispersion))


#: of one row, as functions of its mean
CONTINUOUS = {
    "negative binomial 1": negative_binomial_1,
    "gamma": lambda y, mean, weight, dispersion: weight * (-jnp.log(mean) - y / mean) / dispersion,
    "inverse gaussian": lambda y, mean, weight, dispersion: -weight * (y - mean) ** 2 / (2 * dispersion * y * mean**2),
    "beta": lambda y, mean, weight, precision: (
        weight * jax.scipy.stats.beta.logpdf(y, precision * mean, precision * (1 - mean))
    ),
    "gaussian": lambda y, mean, weight, scale: -0.5 * weight * ((y - mean) / scale) ** 2,
    "t": lambda y, mean, weight, scale, nu: jax.scipy.stats.t.logpdf(y, nu, mean, scale / jnp.sqrt(weight)),
}


LAWS = {
    "Bernoulli": lambda y, p: scipy.stats.bernoulli.logpmf(y, p),
    "Binomial": lambda y, n, p: scipy.stats.binom.logpmf(np.round(y), np.round(n), p),
    "Poisson": scipy.stats.poisson.logpmf,
    "NegBinomial": lambda y, mu, size: scipy.stats.nbinom.logpmf(y, size, size / (size + mu)),
    "NegBinomial1": lambda y, mu, phi: scipy.stats.nbinom.logpmf(y, mu / phi, 1 / (1 + phi)),
    "Gamma": lambda y, mu, phi: scipy.stats.gamma.logpdf(y, 1 / phi, scale=mu * phi),
    "InvGaussian": lambda y, mu, phi: scipy.stats.invgauss.logpdf(y, mu * phi, scale=1 / phi),
    "Beta": lambda y, mu, phi: scipy.stats.beta.logpdf(y, phi * mu, phi * (1 - mu)),
    "Normal": scipy.stats.norm.logpdf,
    "StudentT": lambda y, mu, sd, nu: scipy.stats.t.logpdf(y, nu, mu, sd),
}


#: families whose laws have the weights in them; log densities of others count as often as these say
WEIGHED = ("binomial", "gamma", "inverse gaussian", "gaussian", "t")


class LinkedTruth(Truth):
    """One model with numbers for β, θ and dispersions, at the conditional mode of b."""

    def __init__(self, spec, seed=1, level=None, group=None, data=None):
        rng = np.random.default_rng(seed)
        self.spec, self.d, self.data, self.sigma, self.coefficients = spec, spec.design, data, 1.0, {}
        lambdas = [0.3 * lam for lam in spec.lambdas(oracle.interior(spec, seed))]
        self.covariances = [lam @ lam.T for lam in lambdas]
        self.beta = fit_pilot(spec, spec.family).beta * rng.uniform(0.9, 1.1, spec.n_fixed)
        self.family = spec.family
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
        self.thresholds = np.cumsum([0.0, *self.own.values()])

        def density(eta, y, weight):
            if word == "ordinal":
                k, below = y.astype(int), mean(self.thresholds - eta)
                under = jnp.concatenate([jnp.zeros(1), below, jnp.ones(1)])
                return weight * jnp.log(under[k + 1] - under[k])
            return log_density(word, y, mean(eta), weight, self.own)

        slope = jax.jit(jax.vmap(jax.grad(density)))
        bend = jax.jit(jax.vmap(jax.grad(jax.grad(density))))
        ZL, fixed, u = self.Z @ self.Lambda, self.d.X @ self.beta + self.offset, np.zeros(self.Z.shape[1])
        together = jax.jit(jax.vmap(density))

        def height(u):
            return float(together(fixed + ZL @ u, self.d.y, self.weights).sum()) - 0.5 * u @ u

        for _ in range(50):
            rows = fixed + ZL @ u, self.d.y, self.weights
            g, omega = np.asarray(slope(*rows)), -np.asarray(bend(*rows))
            step = np.linalg.solve(np.eye(len(u)) + (ZL.T * omega) @ ZL, ZL.T @ g - u)
            while np.abs(step).max() > 1e-6 and not height(u + step) > height(u):
                step = step / 2
            u = u + step
        assert np.abs(step).max(initial=0.0) < 1e-12
        self.u, self.eta, self.g, self.omega = u[:, None], rows[0], g, omega
        self.mean, self.z, self.all_b = np.asarray(mean(self.eta)), self.eta + g / omega, self.Lambda @ self.u
        self.bs = np.split(self.all_b, np.cumsum([Z.shape[1] for Z in self.Zs])[:-1])
        for t, own in zip(self.spec.terms, self.bs, strict=True):
            self.b[t.grouping][:, t.where] = own.reshape(-1, len(t.columns))

    @property
    def counts(self):
        """The response as its distribution has it: successes, where it has trials, and classes from 1."""
        return self.d.y * self.weights if self.family.word == "binomial" else self.d.y + bool(self.family.classes)

    def cluster(self, letter):
        r = self.rows
        if letter == "W":
            return np.diag(self.omega[r])
        rows = {"y": self.counts, "n": self.weights, "p": self.mean, "μ": self.mean, "η": self.eta, "z": self.z}
        return rows[letter][r][:, None] if letter in rows else super().cluster(letter)

    def __call__(self, node):
        if isinstance(node, Call) and node.function == "P":
            return self.family.predicted(self.eta, self.own).cumsum(axis=1)[:, :-1]
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
            case ("threshold",):
                return self.thresholds[None]
            case ("threshold", k):
                return self.thresholds[k]
        return super().__call__(node)

    def run(self, node):
        return list(self.omega) if node.symbol.key == ("working weights",) else super().run(node)

    def left(self, line):
        match line.left:
            case Call("Var", (row,)) if not isinstance(row, Symbol):
                return self.family.row_variance(self.mean, self.weights, self.own)[:, None]
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
        if len(y) < self.spec.n_obs:  # a weight of a row stands for those of the rows of a cluster
            arguments = [a[self.rows] if np.shape(a) == (self.spec.n_obs, 1) else a for a in arguments]
        own = LAWS[line.right.name](y, *arguments).ravel()
        rows = self.rows if len(own) < self.spec.n_obs else slice(None)
        # the package's own density, which other tests hold against R
        weights = self.weights[rows] if self.family.word in WEIGHED else np.ones(len(own))
        read = Rows(self.d.y[rows], weights)
        truth = self.family.slopes(self.eta[rows], read, self.own).value + self.family.constant(read, self.own)
        np.testing.assert_allclose(own, truth, rtol=1e-9, atol=1e-9)
        return 1

    def is_row(self, left):
        return getattr(left, "key", ("", ""))[0] not in ("sd", "fixef", "cor", "dispersion", "ranef")
