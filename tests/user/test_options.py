"""A value that an option does not have is answered by those that it has, and the nearest of them."""

import matplotlib.pyplot as plt
import pytest

import ranef
from small_fits import fit_of, scattered_posterior

SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")
PULP = ("bright ~ 1 + (1 | operator)", "pulp")


def eb():
    return fit_of(*SLEEP)


def model():
    return ranef.Model.of(fit_of(*PULP))


def contrasts(**options):
    return ranef.emmeans(eb(), "Days", at={"Days": [0, 1]}).contrasts(**options)


#: a call, what stands for the option in it, and the value meant
CALLS = {
    "fit": (lambda v: model().fit(v), "RELM", "REML"),
    "likelihood": (lambda v: model().likelihood(v), "ml", "ML"),
    "sampler": (lambda v: model().sample(sampler=v), "nutpi", "nutpie"),
    "parameterization": (lambda v: model().sample(parameterization=v), "noncentred", "noncentered"),
    "chain_method": (lambda v: model().sample(chain_method=v), "vectorised", "vectorized"),
    "init": (lambda v: model().sample(init=v), "relm", "reml"),
    "priors": (lambda v: model().sample(priors=v), "flt", "flat"),
    "family": (lambda v: model().sample(family=v), "studnt", "student"),
    "na_action": (lambda v: ranef.Model(PULP[0], ranef.datasets.load("pulp"), na_action=v), "omitt", "omit"),
    "confint": (lambda v: eb().confint(method=v), "profil", "profile"),
    "interval of a bootstrap": (lambda v: eb().bootstrap(20, seed=1).confint(interval=v), "percentil", "percentile"),
    "interval of effects": (lambda v: eb().ranef(interval=v), "henderso", "henderson"),
    "interval of predictions": (lambda v: eb().predict(interval=v), "conf", "confidence"),
    "new_levels": (lambda v: eb().predict(new_levels=v), "populaton", "population"),
    "re of predictions": (lambda v: eb().predict(re=v), "al", "all"),
    "re, a factor": (lambda v: eb().fitted(v), "subject", "Subject"),
    "re of simulations": (lambda v: eb().simulate(re=v), "fited", "fitted"),
    "re of a bootstrap": (lambda v: eb().bootstrap(re=v), "fited", "fitted"),
    "re of draws": (lambda v: scattered_posterior().to_datatree(re=v), "fited", "fitted"),
    "kind of a bootstrap": (lambda v: eb().bootstrap(kind=v), "param", "parametric"),
    "kind of residuals": (lambda v: eb().residuals(v), "person", "pearson"),
    "kind of loo": (lambda v: scattered_posterior().loo(v), "grp", "group"),
    "ddf": (lambda v: eb().summary(ddf=v), "sat", "satterthwaite"),
    "ddf of power": (lambda v: ranef.power(eb(), "Days", ddf=v), "kenward", "kenward-roger"),
    "vcov": (lambda v: eb().summary(vcov=v), "CR3", "CR2"),
    "cluster": (lambda v: eb().vcov_robust(cluster=v), "subject", "Subject"),
    "scope": (lambda v: eb().drop1(v), "term", "terms"),
    "group": (lambda v: eb().influence(v), "subject", "Subject"),
    "test": (lambda v: ranef.anova(eb(), eb(), test=v), "bootstap", "bootstrap"),
    "weights": (lambda v: ranef.emmeans(eb(), "Days", weights=v), "equl", "equal"),
    "method of contrasts": (lambda v: contrasts(method=v), "pairwse", "pairwise"),
    "adjust": (lambda v: contrasts(adjust=v), "tuky", "tukey"),
    "method of a posterior": (lambda v: scattered_posterior().confint(method=v), "hid", "hdi"),
    "style": (lambda v: eb().equation(v), "matriks", "matrix"),
    "kind of lines": (lambda v: eb().plot.lines(kind=v), "facet", "facets"),
    "kind of replicates": (lambda v: eb().plot.ppc(kind=v), "ecd", "ecdf"),
    "statistic": (lambda v: eb().plot.ppc(statistic=v), "medin", "median"),
    "measure": (lambda v: eb().plot.influence(measure=v), "cook", "cooks_distance"),
    "which": (lambda v: eb().plot.pattern(v), "ztz", "ZtZ"),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_nearest_is_named(name):
    call, given, meant = CALLS[name]
    with pytest.raises(ranef.RanefError) as told:
        call(given)
    assert f"Did you mean {meant!r}?" in str(told.value)
    assert str(told.value).count(repr(given)) == 1
    plt.close("all")


@pytest.mark.parametrize("name", [k for k in CALLS if k != "scope"])
def test_what_is_no_text_is_refused(name):
    with pytest.raises(ranef.RanefError):
        CALLS[name][0](3.5)
    plt.close("all")


def test_kenward_and_roger_have_two_names():
    assert eb().tidy(ddf="KR").equals(eb().tidy(ddf="kenward-roger"))
