"""What users import or type stays: names, arguments, commands and options, of before the folders.

Lists may grow. A line that goes takes something away from users.
"""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

import metalearners
from flows.cli.commands import app
from metalearners._moved import MOVED
from metalearners.metalearner import MetaLearner
from tests import simulate

# Arguments in their order; behind a star, those that go by name only. Nothing for other values.
NAMES = {
    "flows": {
        "RunResult": "folder index",
        "RunResult.bundle": "",
        "RunResult.comparison": "",
        "RunResult.config": "",
        "RunResult.effects": "",
        "RunResult.estimates": "",
        "RunResult.report": "",
        "RunResult.score": "rows strict recommend intervals",
        "RunResult.summary": "",
        "cache_prune": "storage older_than_days damaged everything",
        "compare": "* data learners models compare refresh quiet",
        "load": "run output",
        "run": (
            "* source outcome outcome_type positive treatment control arms features row_id weight "
            "group strata time design propensity read data learners models clip folds parallelism "
            "cache evaluation output name refresh quiet"
        ),
        "uplift_backfill": "from_date to_date every",
        "uplift_compare": "compare refresh",
        "uplift_run": (
            "data learners models clip folds parallelism cache evaluation output refresh name"
        ),
        "uplift_score": (
            "input output model sql strict recommend date timezone registry intervals"
        ),
        "uplift_tune": (
            "data learners models clip folds parallelism cache evaluation output budget_seconds "
            "name"
        ),
    },
    "flows.cli": {
        "main": "",
    },
    "flows.errors": {
        "InputError": "message",
    },
    "flows.tune": {
        "uplift_tune": "",
    },
    "flows.uplift": {
        "uplift_run": "",
    },
    "metalearners": {
        "DRLearner": "",
        "RLearner": "",
        "SLearner": "",
        "TLearner": "",
        "XLearner": "",
        "__version__": "",
    },
    "metalearners.bundle": {
        "Bundle": "learners arms schema about",
        "Bundle.load": "folder signing_key",
        "Bundle.of": "learner X",
        "Bundle.predict": "X propensity",
        "Bundle.save": "folder signing_key",
        "BundleError": "",
        "VersionWarning": "",
        "arm_name": "label",
        "estimate_columns": "learner arms estimates of_class",
        "sign": "folder signing_key",
        "versions": "",
    },
    "metalearners.cross_fit_estimator": {
        "CrossFitEstimator": (
            "n_folds estimator_factory estimator_params enable_overall random_state"
        ),
        "CrossFitEstimator.clone": "",
        "CrossFitEstimator.enable_overall": "",
        "CrossFitEstimator.fit": "X y fit_params n_jobs_cross_fitting cv",
        "CrossFitEstimator.fitted": "",
        "CrossFitEstimator.of": "spec n_folds seed fitted",
        "CrossFitEstimator.predict": "X is_oos oos_method",
        "CrossFitEstimator.predict_proba": "X is_oos oos_method",
        "CrossFitEstimator.random_state": "",
        "CrossFitEstimator.score": "X y is_oos oos_method sample_weight",
        "CrossFitEstimator.served": "",
        "CrossFitEstimator.set_params": "",
        "CrossFitEstimator.values": "X is_oos oos_method content",
        "CrossFitEstimator.within": "rows X content",
        "MEDIAN": "",
        "OVERALL": "",
        "_MEAN": "",
    },
    "metalearners.data_generation": {
        "compute_experiment_outputs": (
            "mu treatment sigma_y sigma_tau n_variants is_classification positive_proportion "
            "return_probability_cate rng"
        ),
        "generate_categoricals": (
            "n_obs n_features n_categories n_uniform p_binomial use_strings rng"
        ),
        "generate_covariates": (
            "n_obs n_features n_categoricals format mu wishart_scale n_categories n_uniform "
            "p_binomial use_strings rng"
        ),
        "generate_numericals": "n_obs n_features mu wishart_scale rng",
        "generate_treatment": "propensity_scores rng",
        "insert_missing": "X missing_probability rng",
    },
    "metalearners.drlearner": {
        "DRLearner": (
            "is_classification n_variants nuisance_model_factory treatment_model_factory "
            "propensity_model_factory nuisance_model_params treatment_model_params "
            "propensity_model_params fitted_nuisance_models fitted_propensity_model feature_set "
            "n_folds random_state adaptive_clipping * clip arms"
        ),
        "DRLearner.NUISANCE_KINDS": "",
        "DRLearner.SERVED": "",
        "DRLearner.TREATMENT_KINDS": "",
        "DRLearner.average_effects": "X y w is_oos * sample_weight groups propensity level",
        "DRLearner.average_treatment_effect": "X y w is_oos * sample_weight groups propensity",
        "DRLearner.cate": "eta tau",
        "DRLearner.nuisances": "d",
        "DRLearner.outcomes": "eta tau",
        "DRLearner.scores": "d eta",
        "DRLearner.treatments": "d eta",
    },
    "metalearners.evaluation": {
        "Gain": "gain above_line uplift toc deciles begin",
        "Group": "predicted actual rows",
        "calibration": "predicted scores weight groups n_groups arms tolerance",
        "feature_effects": "scores features w weight groups * n_bins most level draws",
        "profile": "features predicted weight groups * n_groups level tolerance most",
        "effect_drivers": "estimate X seed most_rows tolerance",
        "gain_curve": "priority scores weight groups * arms level tolerance",
        "judge": "predicted scores weight groups * arms tolerance",
        "rate": "priority scores weight groups * kind arms level tolerance",
        "rounding": "estimates",
        "standardized_differences": "X w n_variants weight",
    },
    "metalearners.explainer": {
        "Explainable": "",
        "Explainable.explainer": "X cate_estimates cate_model_factory cate_model_params",
        "Explainable.feature_importances": (
            "feature_names normalize sort_values explainer X cate_estimates cate_model_factory "
            "cate_model_params"
        ),
        "Explainable.overall_models": "",
        "Explainable.shap_values": (
            "X shap_explainer_factory shap_explainer_params explainer cate_estimates "
            "cate_model_factory cate_model_params"
        ),
        "Explainer": "cate_models",
        "Explainer.feature_importances": "normalize feature_names sort_values",
        "Explainer.from_estimates": "X cate_estimates cate_model_factory cate_model_params",
        "Explainer.shap_values": "X shap_explainer_factory shap_explainer_params",
    },
    "metalearners.export": {
        "Formula": "",
        "PROBABILITIES": "",
        "Values": "",
        "build_onnx": "learner models output_name",
        "necessary_onnx_models": "learner",
    },
    "metalearners.grid_search": {
        "GSResult": "metalearner train_scores test_scores fit_time score_time",
        "MetaLearnerGridSearch": (
            "metalearner_factory metalearner_params base_learner_grid param_grid scoring n_jobs "
            "random_state verbose store_raw_results store_results"
        ),
        "MetaLearnerGridSearch.best": "score",
        "MetaLearnerGridSearch.fit": "X y w X_test y_test w_test oos_method",
    },
    "metalearners.intervals": {
        "Intervals": "estimate std_error low high",
        "cate_intervals": "learner X_new X y w * draws level n_jobs fit_params propensity_new",
    },
    "metalearners.metalearner": {
        "Job": "d fit_params store execute",
        "MetaLearner": (
            "is_classification n_variants nuisance_model_factory treatment_model_factory "
            "propensity_model_factory nuisance_model_params treatment_model_params "
            "propensity_model_params fitted_nuisance_models fitted_propensity_model feature_set "
            "n_folds random_state * clip arms"
        ),
        "MetaLearner.MULTI_CLASS": "",
        "MetaLearner.SWEPT": "",
        "MetaLearner.WEIGHTED": "",
        "MetaLearner.adopt": "d nuisances treatments",
        "MetaLearner.arm_of": "kind ordinal",
        "MetaLearner.arm_outcomes": "eta",
        "MetaLearner.as_tensor": "effects",
        "MetaLearner.bounds": "known shares",
        "MetaLearner.cardinality": "kind",
        "MetaLearner.cate": "eta tau",
        "MetaLearner.check": "d",
        "MetaLearner.check_models": "d fit_params only",
        "MetaLearner.classes_": "",
        "MetaLearner.classes_of": "name",
        "MetaLearner.clip_of": "d",
        "MetaLearner.columns": "kind",
        "MetaLearner.concerns": "d with_arguments",
        "MetaLearner.dataset": "X y w * sample_weight groups propensity cv judged",
        "MetaLearner.evaluate": "X y w is_oos oos_method scoring * sample_weight propensity",
        "MetaLearner.explainer": "X cate_estimates cate_model_factory cate_model_params",
        "MetaLearner.feature_importances": (
            "feature_names normalize sort_values explainer X cate_estimates cate_model_factory "
            "cate_model_params"
        ),
        "MetaLearner.fit": (
            "X y w n_jobs_cross_fitting fit_params synchronize_cross_fitting n_jobs_base_learners"
        ),
        "MetaLearner.fit_all_nuisance": (
            "X y w n_jobs_cross_fitting fit_params synchronize_cross_fitting n_jobs_base_learners"
        ),
        "MetaLearner.fit_all_treatment": (
            "X y w n_jobs_cross_fitting fit_params synchronize_cross_fitting n_jobs_base_learners"
        ),
        "MetaLearner.fit_nuisance": "X y model_kind model_ord fit_params n_jobs_cross_fitting cv",
        "MetaLearner.fit_treatment": "X y model_kind model_ord fit_params n_jobs_cross_fitting cv",
        "MetaLearner.in_sample_": "",
        "MetaLearner.init_args": "",
        "MetaLearner.is_pairwise": "kind",
        "MetaLearner.job": "X y w fit_params synchronize n_jobs * store",
        "MetaLearner.kinds": "",
        "MetaLearner.losses": "d made",
        "MetaLearner.n_folds_of": "kind",
        "MetaLearner.nuisance_model_specifications": "",
        "MetaLearner.nuisances": "d",
        "MetaLearner.outcome_values": "predictions",
        "MetaLearner.outcomes": "eta tau",
        "MetaLearner.outcomes_by_arm": "d",
        "MetaLearner.overall_models": "",
        "MetaLearner.overlap": "X is_oos oos_method * propensity",
        "MetaLearner.predict": "X is_oos oos_method * propensity",
        "MetaLearner.predict_conditional_average_outcomes": "X is_oos oos_method * propensity",
        "MetaLearner.predict_method": "kind",
        "MetaLearner.predict_nuisance": "X model_kind model_ord is_oos oos_method * propensity",
        "MetaLearner.predict_treatment": "X model_kind model_ord is_oos oos_method",
        "MetaLearner.propensity": "d",
        "MetaLearner.propensity_among": "eta k",
        "MetaLearner.regression": "d kind target",
        "MetaLearner.row_facts": "X is_oos",
        "MetaLearner.run": "job",
        "MetaLearner.seed": "",
        "MetaLearner.served": "",
        "MetaLearner.set_params": "",
        "MetaLearner.shap_values": (
            "X shap_explainer_factory shap_explainer_params explainer cate_estimates "
            "cate_model_factory cate_model_params"
        ),
        "MetaLearner.spec": "kind",
        "MetaLearner.treatment_model_specifications": "",
        "MetaLearner.treatments": "d eta",
        "MetaLearner.unfitted": "",
        "MetaLearner.unkept": "",
        "MetaLearner.with_known": "eta propensity",
        "NUISANCE": "",
        "PROPENSITY_MODEL": "",
        "Rows": "",
        "TREATMENT": "",
        "TREATMENT_MODEL": "",
        "VARIANT_OUTCOME_MODEL": "",
        "get_overall_estimators": "cfes",
    },
    "metalearners.outcome_functions": {
        "LinearOutcomes": "beta effects tau",
        "constant_treatment_effect": "dim tau ulow uhigh rng",
        "linear_treatment_effect": "dim n_variants ulow uhigh rng",
        "no_treatment_effect": "dim n_variants ulow uhigh rng",
    },
    "metalearners.plots": {
        "average_effects": "effects ax * raw outcome",
        "balance": "features difference noise ax * before",
        "calibration": "groups ax * outcome styles keys",
        "drivers": "features share ax * style",
        "estimates": "cate ax * outcome styles keys",
        "feature_effect": "found ax * arms outcome keys",
        "forest": "rows ax * x_label styles keys width",
        "gates": "groups ax * outcome styles keys",
        "overlap": "own others ax * arm clip style",
        "qini": "judged ax * outcome styles keys",
        "segments": "found ax * arms outcome keys",
        "targeting": "curve ax * marks styles outcome",
        "toc": "judged ax * outcome styles keys",
    },
    "metalearners.rlearner": {
        "OUTCOME_MODEL": "",
        "RLearner": (
            "is_classification n_variants nuisance_model_factory treatment_model_factory "
            "propensity_model_factory nuisance_model_params treatment_model_params "
            "propensity_model_params fitted_nuisance_models fitted_propensity_model feature_set "
            "n_folds random_state * clip arms outcome_rows"
        ),
        "RLearner.NUISANCE_KINDS": "",
        "RLearner.SERVED": "",
        "RLearner.TREATMENT_KINDS": "",
        "RLearner.WEIGHTED": "",
        "RLearner.cardinality": "kind",
        "RLearner.cate": "eta tau",
        "RLearner.fit_all_treatment": (
            "X y w n_jobs_cross_fitting fit_params synchronize_cross_fitting n_jobs_base_learners "
            "epsilon"
        ),
        "RLearner.losses": "d made",
        "RLearner.nuisances": "d",
        "RLearner.outcomes": "eta tau",
        "RLearner.treatments": "d eta",
        "pseudo_outcome": "y m residual epsilon",
        "r_loss": (
            "cate_estimates outcome_estimates propensity_scores outcomes treatments sample_weight"
        ),
    },
    "metalearners.slearner": {
        "SLearner": (
            "is_classification n_variants nuisance_model_factory treatment_model_factory "
            "propensity_model_factory nuisance_model_params treatment_model_params "
            "propensity_model_params fitted_nuisance_models fitted_propensity_model feature_set "
            "n_folds random_state * clip arms interactions"
        ),
        "SLearner.MULTI_CLASS": "",
        "SLearner.NUISANCE_KINDS": "",
        "SLearner.SERVED": "",
        "SLearner.SWEPT": "",
        "SLearner.TREATMENT_KINDS": "",
        "SLearner.cardinality": "kind",
        "SLearner.cate": "eta tau",
        "SLearner.check": "d",
        "SLearner.columns": "kind",
        "SLearner.nuisances": "d",
        "SLearner.outcomes": "eta tau",
    },
    "metalearners.store": {
        "CachedStore": "cache refresh",
        "CachedStore.claim": "key",
        "CachedStore.fetch": "key",
        "CachedStore.find": "key",
        "CachedStore.forget_fits": "",
        "CachedStore.get": "ref",
        "CachedStore.keep": "key fit label",
        "CachedStore.only": "refs",
        "CachedStore.put": "value",
        "DirectoryStore": "location refresh signing_key",
        "DirectoryStore.claim": "key",
        "DirectoryStore.fetch": "key",
        "DirectoryStore.find": "key",
        "DirectoryStore.forget_fits": "",
        "DirectoryStore.get": "ref",
        "DirectoryStore.keep": "key fit label",
        "DirectoryStore.only": "refs",
        "DirectoryStore.put": "value",
        "MemoryStore": "",
        "MemoryStore.claim": "key",
        "MemoryStore.fetch": "key",
        "MemoryStore.find": "key",
        "MemoryStore.forget_fits": "",
        "MemoryStore.get": "ref",
        "MemoryStore.keep": "key fit label",
        "MemoryStore.only": "refs",
        "MemoryStore.put": "value",
        "Store": "",
        "Store.claim": "key",
        "Store.find": "key",
        "Store.forget_fits": "",
        "Store.get": "ref",
        "Store.keep": "key fit label",
        "Store.only": "refs",
        "Store.put": "value",
        "check_cache_makers": "cache",
        "obtain": "unit store fit",
    },
    "metalearners.tlearner": {
        "TLearner": (
            "is_classification n_variants nuisance_model_factory treatment_model_factory "
            "propensity_model_factory nuisance_model_params treatment_model_params "
            "propensity_model_params fitted_nuisance_models fitted_propensity_model feature_set "
            "n_folds random_state * clip arms"
        ),
        "TLearner.MULTI_CLASS": "",
        "TLearner.NUISANCE_KINDS": "",
        "TLearner.SERVED": "",
        "TLearner.TREATMENT_KINDS": "",
        "TLearner.cate": "eta tau",
        "TLearner.nuisances": "d",
        "TLearner.outcomes": "eta tau",
    },
    "metalearners.utils": {
        "FixedBinaryPropensity": "propensity_score",
        "FixedBinaryPropensity.fit": "X y sample_weight",
        "FixedBinaryPropensity.predict": "X",
        "FixedBinaryPropensity.predict_proba": "X",
        "metalearner_factory": "metalearner_prefix",
        "simplify_output": "tensor",
    },
    "metalearners.xlearner": {
        "CONTROL_EFFECT_MODEL": "",
        "TREATMENT_EFFECT_MODEL": "",
        "XLearner": (
            "is_classification n_variants nuisance_model_factory treatment_model_factory "
            "propensity_model_factory nuisance_model_params treatment_model_params "
            "propensity_model_params fitted_nuisance_models fitted_propensity_model feature_set "
            "n_folds random_state * clip arms"
        ),
        "XLearner.NUISANCE_KINDS": "",
        "XLearner.SERVED": "",
        "XLearner.TREATMENT_KINDS": "",
        "XLearner.cate": "eta tau",
        "XLearner.nuisances": "d",
        "XLearner.outcomes": "eta tau",
        "XLearner.treatments": "d eta",
    },
}

COMMANDS = {
    "uplift": "--version",
    "uplift cache": "",
    "uplift cache list": "--storage --json",
    "uplift cache prune": "--storage --older-than --damaged --all",
    "uplift cache verify": "--storage",
    "uplift compare": "",
    "uplift doctor": "--storage --output --json",
    "uplift history": "config --output --html --json",
    "uplift init": "data --output",
    "uplift models": "",
    "uplift models export": "model --storage --to",
    "uplift models list": "--storage --json",
    "uplift models promote": "model --storage --output --why",
    "uplift models rollback": "name --storage --why",
    "uplift models show": "model --storage --json",
    "uplift models sign": "model --storage",
    "uplift run": "config --set --output --json --refresh --quiet",
    "uplift runs": "",
    "uplift runs list": "--output",
    "uplift runs show": "name --output",
    "uplift runs sign": "name --output",
    "uplift score": (
        "--model --input --output --sql --date --timezone --strict --recommend --intervals "
        "--overwrite --registry --quiet"
    ),
    "uplift serve": "--port",
    "uplift tune": "config --set --budget --output --json --quiet",
}

EARLIER_MODULES = (
    *("aipw", "auto", "balance", "containers", "crossfit", "dataset", "defaults", "design"),
    *("digest", "drivers", "estimators", "execute", "findings", "fit", "fit_cache", "folds"),
    *("multiplicity", "overlap", "plan", "schema", "scoring", "storage", "ties", "unit", "weights"),
)


@pytest.mark.parametrize(
    ("module", "name", "then"),
    [
        pytest.param(module, name, then, id=f"{module}.{name}")
        for module, names in NAMES.items()
        for name, then in names.items()
    ],
)
def test_a_public_name_stays_with_its_arguments(module, name, then):
    value = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part)

    if then:
        ordered, _, by_name = then.partition("*")
        now_ordered, now_by_name = arguments(value)
        assert now_ordered[: len(ordered.split())] == ordered.split()
        assert set(by_name.split()) <= {*now_ordered, *now_by_name}


def arguments(value: Any) -> tuple[list[str], list[str]]:
    """Names of the arguments that have a place, and of those that go by name only."""
    known = [p for p in inspect.signature(value).parameters.values() if p.name != "self"]
    ordered = [p.name for p in known if p.kind is p.POSITIONAL_OR_KEYWORD]
    return ordered, [p.name for p in known if p.kind is p.KEYWORD_ONLY]


def test_learners_are_the_public_names_of_the_library():
    learners = {learner.__name__ for learner in simulate.LEARNERS}

    assert set(metalearners.__all__) == learners | {"__version__"}
    assert {"DRLearner", "RLearner", "SLearner", "TLearner", "XLearner"} <= learners
    assert all(issubclass(getattr(metalearners, name), MetaLearner) for name in learners)
    assert metalearners.__version__[0].isdigit()


def commands(command: Any, path: str = "uplift") -> Iterator[tuple[str, list[str]]]:
    """Each command with its arguments and options."""
    yield path, [option for each in command.params for option in each.opts + each.secondary_opts]
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{path} {name}")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_stays_with_its_options(command):
    now = dict(commands(typer.main.get_command(app)))

    assert set(COMMANDS[command].split()) <= set(now[command])


@pytest.mark.parametrize("name", EARLIER_MODULES)
def test_modules_are_found_by_their_earlier_names(name):
    sys.modules.pop(f"metalearners.{name}", None)
    with pytest.warns(DeprecationWarning, match=f"metalearners.{name} is now .* Import it from"):
        module = importlib.import_module(f"metalearners.{name}")

    for place in MOVED[name]:
        own = importlib.import_module(f"metalearners.{place}")
        public = [each for each in vars(own) if not each.startswith("_")]
        assert public
        assert all(getattr(module, each) is getattr(own, each) for each in public)


def test_no_earlier_name_hides_a_module_and_no_other_name_is_found():
    assert not [name for name in MOVED if importlib.util.find_spec(f"metalearners.{name}").origin]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("metalearners.nothing")
