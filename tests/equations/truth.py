"""What the symbols of an equation stand for, from the design and dense matrices; and whether its lines hold."""

import numpy as np

import oracle
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import Call, Chain, Law, Listed, Of, Run, Symbol, Variable
from _ranef.equations.tree_values import evaluated


class Truth:
    """One model with numbers for β, b, θ, σ and ρ; ε is what is left of y."""

    def __init__(self, spec, seed=1, level=None, group=None, data=None):
        rng = np.random.default_rng(seed)
        if spec.structured:
            rho = spec.rho_start + rng.uniform(-0.1, 0.1, len(spec.rho_start))
            if spec.variance is not None and spec.variance.of_fitted:
                spec = spec.with_fitted(np.abs(spec.design.y))
            spec = spec.with_rho(rho)
        self.spec, self.d, self.data = spec, spec.design, data
        self.sigma = rng.uniform(0.5, 2.0) if spec.sigma is None else spec.sigma
        theta = oracle.interior(spec, seed)
        lambdas = spec.lambdas(theta)
        self.covariances = [self.sigma**2 * lam @ lam.T for lam in lambdas]
        self.beta = rng.normal(size=spec.n_fixed)
        self.b = [rng.normal(size=(g.n_levels, len(g.columns))) for g in spec.groupings]
        self.offset = np.zeros(spec.n_obs) if self.d.offset is None else self.d.offset
        at = [(b[g.codes] * g.Z).sum(axis=1) for b, g in zip(self.b, spec.groupings, strict=True)]
        self.mean = self.d.X @ self.beta + self.offset + sum(at, np.zeros(spec.n_obs))
        self.eps = self.d.y - self.mean
        self.R = self.sigma**2 * oracle.dense(spec, theta).R
        self.letters = {Symbols(spec).letter(k): k for k in range(len(spec.groupings))}
        self.coefficients = {}
        self.h = np.ones(spec.n_obs)
        if spec.variance is not None:
            self.h = np.exp(spec.variance.log_sds(spec.rho[: len(spec.variance.names)]))
        told = spec.residual.told()
        self.rho = [value for part in told for value in part.values]
        self._blocks(lambdas)
        self._cluster(level, group)

    def _blocks(self, lambdas):
        """Z, b, D and Λ, term by term."""
        self.Zs, self.bs, Ds, roots = [], [], [], []
        for t in self.spec.terms:
            g = self.spec.groupings[t.grouping]
            Z = np.zeros((self.spec.n_obs, g.n_levels, len(t.columns)))
            Z[np.arange(self.spec.n_obs), g.codes] = g.Z[:, t.where]
            self.Zs.append(Z.reshape(len(Z), -1))
            self.bs.append(self.b[t.grouping][:, t.where].reshape(-1, 1))
            root = np.eye(g.n_levels) if g.root is None else g.root
            lam = np.kron(root, lambdas[t.grouping][t.where, t.where])
            roots.append(lam)
            Ds.append(self.sigma**2 * lam @ lam.T)
        n = self.spec.n_obs
        self.Z = np.hstack([np.zeros((n, 0)), *self.Zs])
        self.all_b = np.vstack([np.zeros((0, 1)), *self.bs])
        self.D, self.Lambda = oracle.block_diagonal(Ds), oracle.block_diagonal(roots)
        self.V = self.Z @ self.D @ self.Z.T + self.R

    def _cluster(self, level, group):
        spec = self.spec
        k = 0 if group is None else [g.name for g in spec.groupings].index(group)
        self.rows = np.arange(spec.n_obs)
        if spec.groupings:
            g = spec.groupings[k]
            code = 0 if level is None else g.levels.tolist().index(level)
            self.rows = np.flatnonzero(g.codes == code)
        starts = np.cumsum([0, *(Z.shape[1] for Z in self.Zs)])
        columns = []
        for t, start in zip(spec.terms, starts, strict=False):
            p = len(t.columns)
            for level_code in np.unique(spec.groupings[t.grouping].codes[self.rows]):
                columns += [start + level_code * p + c for c in range(p)]
        self.columns = np.array(columns, dtype=int)

    def cluster(self, letter):
        r, c = self.rows, self.columns
        return {
            "y": self.d.y[r][:, None],
            "X": self.d.X[r],
            "Z": self.Z[np.ix_(r, c)],
            "b": self.all_b[c],
            "o": self.offset[r][:, None],
            "ε": self.eps[r][:, None],
            "D": self.D[np.ix_(c, c)],
            "R": self.R[np.ix_(r, r)],
            "V": self.V[np.ix_(r, r)],
        }[letter]

    # -- variables -------------------------------------------------------------------------------------------------

    def column(self, name):
        """A variable of the data, or a column of the design, in all rows."""
        if self.data is not None and name in self.data:
            return np.asarray(self.data[name])
        named = [(self.d.fixed_names, self.d.X), *((g.columns, g.Z) for g in self.spec.groupings)]
        for names, values in named:
            if name in names:
                return values[:, list(names).index(name)]
        if name == self.d.response:
            return self.d.y
        return self.data.eval(name).to_numpy()

    def indexed(self, values, at):
        """Values of rows for an index: all rows down or across, one row, or a row of every level."""
        if at == "i" or (isinstance(at, Of) and at.row == "i"):
            return values[:, None]
        if at == "i′" or (isinstance(at, Of) and at.row == "i′"):
            return values[None]
        if at.isdigit():
            return values[int(at) - 1]
        codes = self.spec.groupings[self.letters[at]].codes
        first = [int(np.argmax(codes == k)) for k in range(codes.max() + 1)]
        assert all(
            len(set(values[codes == k])) == 1 or np.ptp(values[codes == k]) < 1e-9 for k in range(codes.max() + 1)
        )
        return values[first][:, None]

    def of_levels(self, values, grouping, at):
        """Values (J,) of levels for an index: of rows, of finer levels, or of all levels."""
        codes = self.spec.groupings[grouping].codes
        if isinstance(at, Of) and at.row != "i":
            return self.indexed(values[codes], at.row)
        return values[codes][:, None] if isinstance(at, Of) else values[:, None]

    # -- symbols ---------------------------------------------------------------------------------------------------

    def __call__(self, node):
        if isinstance(node, Variable):
            return self.indexed(self.column(node.name), node.at)
        if isinstance(node, Run):
            return self.run(node)
        if isinstance(node, Call):
            return self.autocorrelation()
        kind, *rest = node.key or (None,)
        match kind, rest:
            case "fixef", [k]:
                return self.beta[k]
            case "ranef", [g, c]:
                return self.of_levels(self.b[g][:, c], g, node.below[-1])
            case "ranef", [g, c, level]:
                return self.b[g][level, c]
            case "coefficient", [m, at, _]:
                return self.coefficient(node, m, at)
            case "sd", []:
                return self.sigma
            case "sd", [g, c]:
                return np.sqrt(self.covariances[g][c, c])
            case "cor", [g, a, b]:
                S = self.covariances[g]
                return S[a, b] / np.sqrt(S[a, a] * S[b, b])
            case "block", [t]:
                own = self.spec.terms[t]
                return self.covariances[own.grouping][own.where, own.where]
            case "known", [g]:
                return self.spec.groupings[g].root @ self.spec.groupings[g].root.T
            case "known entry", [g, a, b]:
                return (self.spec.groupings[g].root @ self.spec.groupings[g].root.T)[a, b]
            case "residual" | "response", [row]:
                return (self.eps if kind == "residual" else self.d.y)[row]
            case "R entry", [a, b]:
                return self.R[a, b]
            case "rho", [place]:
                return self.rho[place]
            case "stratum", [first]:
                return np.array(self.rho[first:])[self.spec.variance.codes][:, None]
            case "strata", [first]:
                return np.array(self.rho[first:])[: len(self.spec.variance.labels), None]
            case "occasions", [first]:
                return self.occasions()
            case "all occasions", []:
                return self.by_occasion()[1]
            case _, [number] if kind.endswith("of term"):
                return {"Z": self.Zs[number], "b": self.bs[number], **self.factors(number)}[kind[0]]
            case _, [g] if kind.endswith("of cluster"):
                return self.cluster(kind[0])
        return self.whole(kind, node)

    def whole(self, kind, node):
        n = self.spec.n_obs
        weights = np.ones(n) if self.d.weights is None else self.d.weights
        sds = np.sqrt(np.abs(np.diag(self.R)))  # weights of rows far from their means may be negative
        rows = {
            "residual": self.eps,
            "offset": self.offset,
            "weight": weights,
            "row sd": self.h,
            "mean": self.mean,
            "fitted": np.abs(self.d.y),
        }
        if kind == "distance":
            names = self.spec.correlation.function.positions
            places = np.column_stack([self.column(name) for name in names])
            return np.linalg.norm(places[:, None] - places, axis=2)
        if kind == "place":
            return self.indexed(self.places(), node.below[0])
        if kind in rows:
            return self.indexed(rows[kind], node.below[0])
        found = {
            "y": self.d.y[:, None],
            "X": self.d.X,
            "beta": self.beta[:, None],
            "Z": self.Z,
            "b": self.all_b,
            "epsilon": self.eps[:, None],
            "offsets": self.offset[:, None],
            "D": self.D,
            "R": self.R,
            "V": self.V,
            "Lambda": self.Lambda,
            "H": np.diag(self.h),
            "C": self.R / np.outer(sds, sds),
            "W": np.diag(weights),
            "W root": np.diag(np.sqrt(weights)),
        }
        if node.letter == "0":
            return 0.0
        return found[kind]

    def factors(self, number):
        term = self.spec.terms[number]
        g = self.spec.groupings[term.grouping]
        return {"J": np.eye(g.n_levels)[g.codes], "X": g.Z[:, term.where]}

    def places(self):
        codes, out = self.spec.correlation.codes, np.zeros(self.spec.n_obs)
        for k in np.unique(codes):
            out[codes == k] = np.arange((codes == k).sum())
        return out

    def correlations(self):
        sds = np.sqrt(np.diag(self.R))
        return self.R / np.outer(sds, sds)

    def autocorrelation(self):
        """By ψ weights of the process, long enough that the rest is rounding."""
        p = self.spec.correlation.function.p
        phi, theta = np.array(self.rho[-3:][:p]), np.array(self.rho[-3:][p:])
        psi = np.zeros(4000)
        psi[0] = 1.0
        for k in range(1, len(psi)):
            psi[k] = (theta[k - 1] if k <= len(theta) else 0.0) + sum(phi[i] * psi[k - 1 - i] for i in range(min(k, p)))
        gamma = np.array([psi[: len(psi) - k] @ psi[k:] for k in range(20)])
        days = np.asarray(self.data["Days"], dtype=int)
        return (gamma / gamma[0])[np.abs(days[:, None] - days)]

    def occasions(self):
        at, whole = self.by_occasion()
        return whole[at[:, None], at]

    def by_occasion(self):
        age = np.asarray(self.data["age"])
        values = sorted(set(age))
        whole, given = np.eye(len(values)), iter(self.rho)
        for i in range(len(values)):
            for j in range(i):
                whole[i, j] = whole[j, i] = next(given)
        return np.searchsorted(values, age), whole

    def run(self, node):
        kind, *rest = node.symbol.key
        if not rest:
            values = self.h if kind == "row sds" else self.d.weights
            return list(values)
        g = self.spec.groupings[rest[0]]
        rows = [np.flatnonzero(g.codes == k) for k in range(g.n_levels)]
        if kind[0] == "V":
            return [self.V[np.ix_(r, r)] for r in rows]
        return [g.Z[r] for r in rows]

    def coefficient(self, node, m, at):
        where = list(node.below[1:])
        values, groupings = self.coefficients[m, at]
        if len(groupings) > 1:
            codes = tuple(self.spec.groupings[g].codes for g in groupings)
            return values[codes][:, None]
        return self.of_levels(values, groupings[0], where[0])

    # -- whether lines hold ----------------------------------------------------------------------------------------

    def define(self, lines):
        """Coefficients that vary, by the lines that say what they are made of, from the top."""
        for line in reversed(lines):
            if not (isinstance(line.left, Symbol) and line.left.key[:1] == ("coefficient",)):
                continue
            _, m, at, _ = line.left.key
            groupings = [self.letters[a] for a in line.left.below[1:]]
            if len(groupings) == 1:
                self.coefficients[m, at] = np.ravel(evaluated(line.right, self)), groupings
            else:
                self.coefficients[m, at] = self.crossed(line.right, groupings), groupings

    def crossed(self, right, groupings):
        """Over all combinations of levels."""
        shape = [self.spec.groupings[g].n_levels for g in groupings]
        out = np.zeros(shape)
        for term in right.terms:
            value = np.asarray(evaluated(term, self))
            if isinstance(term, Symbol) and term.key[0] == "ranef":
                own = [1] * len(shape)
                own[groupings.index(term.key[1])] = -1
                value = value.reshape(own)
            out = out + value
        return out

    def check(self, lines):
        """How many statements of the lines hold; raises for one that does not."""
        self.define(lines)
        held, left = 0, None
        for line in lines:
            if line.relation == "=":
                left = self.left(line) if line.left is not None else left
                for part in line.right.parts if isinstance(line.right, Chain) else (line.right,):
                    if self.is_known(part):
                        self.same(left, part, line)
                        held += 1
            elif line.relation == "~":
                held += self.distribution(line)
        return held

    def is_known(self, part):
        if type(part).__name__ == "Words":
            return False
        return not (isinstance(part, Call) and part.function in ("Var", "Cov", "Cor"))

    def left(self, line):
        match line.left:
            case Call("Var", (y,)) | Call("Cov", (y, _)) if y.key[0] == "response":
                a, b = line.left.arguments[0].key[1], line.left.arguments[-1].key[1]
                return self.V[a, b]
            case Call("Cor", _):
                return self.correlations()
            case Symbol("V" | "R", _, (kind, _)) if kind.endswith("of level"):
                return self.one_level()["V"]
            case Symbol("ε", ("t",), _):
                return None
        if isinstance(line.left, Symbol) and line.left.key[:1] == ("Z of level",):
            return None
        return evaluated(line.left, self)

    def one_level(self, k=0):
        g = self.spec.groupings[0]
        r = np.flatnonzero(g.codes == k)
        return {"V": self.V[np.ix_(r, r)], "Z": g.Z[r], "R": self.R[np.ix_(r, r)]}

    def same(self, left, part, line):
        crossed = isinstance(line.left, Symbol) and line.left.key[:1] == ("coefficient",) and len(line.left.below) > 2
        if left is None or crossed:
            return
        of_level = isinstance(line.left, Symbol) and str(line.left.key[0]).endswith("of level")

        def values(node):
            if of_level and isinstance(node, Symbol) and str(node.key[0]).endswith("of level"):
                return self.one_level()[node.letter]
            return self(node)

        right = evaluated(part, values)
        if isinstance(line.left, Call) and line.left.function == "Cor":
            codes = self.spec.correlation.codes
            pairs = (codes[:, None] == codes) & ~np.eye(len(codes), dtype=bool)
            right = np.broadcast_to(right, pairs.shape)
            assert np.abs(left[codes[:, None] != codes]).max(initial=0) < 1e-12
            left, right = left[pairs], right[pairs]
        if self.sorted_rows(part):
            g = self.spec.groupings[0]
            order = np.argsort(g.codes, kind="stable")
            left = left[order] if part_is_Z(part) else left[np.ix_(order, order)]
        np.testing.assert_allclose(*np.broadcast_arrays(right, left), rtol=1e-8, atol=1e-8 * (1 + np.abs(left).max()))

    def sorted_rows(self, part):
        run = part.entries[0] if hasattr(part, "entries") and isinstance(part.entries, tuple) and part.entries else None
        return isinstance(run, Run) and len(run.symbol.key) == 2

    def distribution(self, line):
        """The variance of a normal law is that of what stands left; means are held where they are known."""
        if not (isinstance(line.right, Law) and line.right.name in ("N", "t")):
            return 0
        *_, mean, variance = line.right.arguments
        truth, expected = self.law(line.left)
        if truth is None:
            return 0
        np.testing.assert_allclose(
            np.broadcast_to(evaluated(variance, self), np.shape(truth)), truth, rtol=1e-8, atol=1e-10
        )
        if expected is not None:
            np.testing.assert_allclose(np.broadcast_to(evaluated(mean, self), expected.shape), expected, atol=1e-8)
        return 1

    def law(self, left):
        n = self.spec.n_obs
        if isinstance(left, Listed):
            g, c = left.entries[0].key[1:]
            p = len(left.entries)
            return self.covariances[g][c : c + p, c : c + p], np.zeros((p, 1))
        if not isinstance(left, Symbol):
            if type(left).__name__ == "Phrase":  # y given b
                return self.R, self.mean[:, None]
            try:
                is_row = np.shape(evaluated(left, self)) == (n, 1)
            except Exception:
                return None, None
            return (np.diag(self.R)[:, None], self.mean[:, None]) if is_row else (None, None)
        match left.key:
            case ("ranef", g, c):
                return np.atleast_2d(self.covariances[g][c, c]), np.zeros((1, 1))
            case ("all effects", t):
                own = [Z.shape[1] for Z in self.Zs]
                start = sum(own[:t])
                return self.D[start : start + own[t], start : start + own[t]], None
            case ("residual",):
                return np.diag(self.R)[:, None], np.zeros((n, 1))
            case ("epsilon",):
                return self.R, None
            case ("b",):
                return self.D, None
            case ("y",):
                return self.V, (self.d.X @ self.beta + self.offset)[:, None]
        return None, None


def part_is_Z(part):
    return part.entries[0].symbol.letter == "Z"
