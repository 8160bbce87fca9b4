"""The intermediate representation that both engines compile."""

from _ranef.support.late_names import late

with late(globals()):
    from _ranef.spec.column_moments import Moments, merged_moments, moments
    from _ranef.spec.densities import correlation_density, scale_density, shape_density
    from _ranef.spec.generalised_response import Generalised, Reader, Rows, Slopes
    from _ranef.spec.known_covariances import Precision, check_cov, with_known
    from _ranef.spec.links import LINKS, Space
    from _ranef.spec.matrices import Cluster, KhatriRao, Maker, ModelMatrices, NamedMatrix, TermMatrices
    from _ranef.spec.model import Grouping, ModelSpec, TermSpec, check_responses, model_spec, with_response
    from _ranef.spec.model_priors import (
        Priors,
        corr_name,
        default_priors,
        flat_priors,
        replacements,
        shape_name,
    )
    from _ranef.spec.ordinal_responses import thresholds
    from _ranef.spec.prior_coordinates import TermColumns, inward_theta, outward_theta
    from _ranef.spec.prior_families import (
        LKJ,
        R2D2,
        Cauchy,
        Custom,
        Exponential,
        Flat,
        Gamma,
        HalfCauchy,
        HalfNormal,
        HalfStudentT,
        Location,
        Normal,
        Scale,
        ShapePrior,
        StudentT,
        Uniform,
    )
    from _ranef.spec.response import FAMILIES, Family, Gaussian, LocationScale, Student, family_of
    from _ranef.spec.response_families import GENERALISED, response_family
    from _ranef.spec.rho_prior import (
        mean_log_sds,
        mean_log_sds_slopes,
        rho_log_prior,
        rho_log_priors,
        rho_parameters,
        rho_prior_draws,
    )
    from _ranef.spec.subset_of_rows import with_units, without_rows
    from _ranef.spec.variance_components import covariance_arrays, sdcor_arrays, varcorr_arrays

__all__ = [
    "FAMILIES",
    "GENERALISED",
    "LINKS",
    "LKJ",
    "R2D2",
    "Cauchy",
    "Cluster",
    "Custom",
    "Exponential",
    "Family",
    "Flat",
    "Gamma",
    "Gaussian",
    "Generalised",
    "Grouping",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "KhatriRao",
    "Location",
    "LocationScale",
    "Maker",
    "ModelMatrices",
    "ModelSpec",
    "Moments",
    "NamedMatrix",
    "Normal",
    "Precision",
    "Priors",
    "Reader",
    "Rows",
    "Scale",
    "ShapePrior",
    "Slopes",
    "Space",
    "Student",
    "StudentT",
    "TermColumns",
    "TermMatrices",
    "TermSpec",
    "Uniform",
    "check_cov",
    "check_responses",
    "corr_name",
    "correlation_density",
    "covariance_arrays",
    "default_priors",
    "family_of",
    "flat_priors",
    "inward_theta",
    "mean_log_sds",
    "mean_log_sds_slopes",
    "merged_moments",
    "model_spec",
    "moments",
    "outward_theta",
    "replacements",
    "response_family",
    "rho_log_prior",
    "rho_log_priors",
    "rho_parameters",
    "rho_prior_draws",
    "scale_density",
    "sdcor_arrays",
    "shape_density",
    "shape_name",
    "thresholds",
    "varcorr_arrays",
    "with_known",
    "with_response",
    "with_units",
    "without_rows",
]
