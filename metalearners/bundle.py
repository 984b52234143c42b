"""A folder with what scoring needs of fitted learners: no data, no fold models."""

import pickle
import reprlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd

from metalearners._typing import Floats, Matrix
from metalearners.data.containers import check_matrix, column_names
from metalearners.data.estimate_columns import (
    arm_name,
    estimate_columns,
    named_columns,
    percentile,
)
from metalearners.data.schema import Schema
from metalearners.declaration.predictions import Predictions
from metalearners.evaluation.means import check_level
from metalearners.files.manifests import (
    MANIFEST,
    BundleError,
    check_bundle_makers,
    damaged,
    digest_of,
    read_manifest,
    sign,
    verified,
    write_files,
)
from metalearners.files.signing import check_key
from metalearners.intervals import intervals_of
from metalearners.metalearner import MetaLearner
from metalearners.showing.results import Shown
from metalearners.workers.serving import use_all_cores

__all__ = ["Bundle", "BundleError", "VersionWarning", "sign", "versions"]

_REFITS = ".refits.pickle"  # how the names of files with refits end


@dataclass(frozen=True)
class Bundle(Shown):
    """Fitted learners, with the arms and features that their estimates are about.

    Parameters
    ----------
    learners : dict of MetaLearner
        By name.
    arms : list
        Labels of the arms, the control first.
    schema : Schema, optional
        The features, where they are columns of a pandas data frame.
    about : dict
        Plain values for a reader of the model. When a bundle is loaded, its ``versions`` are
        compared with the installed ones; ``quantiles`` of the training estimates, by column, are
        what percentiles go by.
    digest : str
        Of a loaded bundle as it is stored, whoever signed it.
    refits : dict of lists of MetaLearner
        By the name of a learner, the same learner fitted again on half-samples (see
        `metalearners.intervals.refitted`), for intervals.
    """

    learners: Mapping[str, MetaLearner]
    arms: list[Any]
    schema: Schema | None
    about: Mapping[str, Any]
    digest: str = ""
    refits: Mapping[str, list[MetaLearner]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arms", [_plain(label) for label in self.arms])
        if len({arm_name(label) for label in self.arms}) < len(self.arms):
            raise BundleError(
                "Expected arms whose labels are written differently, as they name columns; "
                f"found {self.arms}. Use other labels."
            )
        for name, refits in self.refits.items():
            _check_refits(refits, self.learners.get(name))

    @classmethod
    def of(
        cls, learner: MetaLearner, X: Matrix, refits: list[MetaLearner] | None = None
    ) -> "Bundle":
        """A bundle of one fitted learner, by the name of its class.

        Parameters
        ----------
        X : array or data frame of shape (n, p)
            Features that it was fitted on. New rows must have the types and category levels of a
            pandas data frame with names; lost ones are restored.
        refits : list of MetaLearner, optional
            The learner fitted again on half-samples, as by `metalearners.intervals.refits`.

        Raises
        ------
        ValueError
            If the learner isn't fitted, or on other features; or arms have labels that no file
            can hold.
        """
        _check_fitted(learner, X)
        arms = list(range(learner.n_variants)) if learner.arms is None else list(learner.arms)
        named = isinstance(X, pd.DataFrame) and all(isinstance(c, str) for c in X.columns)
        schema = Schema.of(X) if named else None
        name, about = type(learner).__name__, {"versions": versions()}
        again = {} if refits is None else {name: refits}
        return cls({name: learner}, arms, schema, about, refits=again)

    def predict(
        self,
        X: Matrix,
        propensity: Floats | None = None,
        unseen_missing: bool = False,
        details: bool = False,
        conformed: bool = False,
        level: float | None = None,
    ) -> pd.DataFrame:
        """CATE estimates of new rows, a column ``cate.<learner>.<arm>`` for each treatment arm.

        Of two classes other than 0 and 1, effects are on the second, and the name ends with it:
        ``cate.<learner>.<arm>.<class>``.

        With details, ``percentile.<learner>.<arm>`` is the share of the training rows, from 0 to
        100, whose estimate is lower, equal ones counted half, where the bundle knows their
        quantiles. ``outcome.<learner>.<arm>`` is the expected outcome under each arm, the control
        too, of learners that predict by models of the outcome.

        With a level, ``low.<learner>.<arm>`` and ``high.<learner>.<arm>`` are the ends of pointwise
        intervals for the effects. For what they don't cover see
        `metalearners.intervals.cate_intervals`.

        Parameters
        ----------
        X : matrix of n rows
            Features of new rows.
        propensity : array of shape (n, K), optional
            Known probabilities of the arms.
        unseen_missing : bool
            Whether unseen levels count as missing, with a warning, or are refused.
        details, conformed : bool
            Whether percentiles and outcomes follow; whether X comes from the schema's `conform`.
        level : float, optional
            Of the intervals, such as .95.

        Raises
        ------
        SchemaError
            If the rows lack a feature, or it has values that the model doesn't know.
        BundleError
            If intervals are asked of a model without refits.
        """
        if level is not None:
            self.check_intervals(level)
        schema = None if conformed else self.schema
        features = X if schema is None else schema.conform(X, unseen_missing)
        columns: dict[str, Floats] = {}
        more: dict[str, Floats] = {}
        for name, learner in self.learners.items():
            made = learner.predictions(features, propensity)
            effects, on_class = _effects(name, learner, made), _class_name(learner)
            own = estimate_columns(name, self.arms, effects, on_class)
            columns |= own
            if level is not None:
                again = (
                    _effects(name, one, one.predictions(features, propensity))
                    for one in self.refits[name]
                )
                found = intervals_of(effects, again, level)
                for end in ("low", "high"):
                    ends = getattr(found, end)
                    more |= named_columns(end, name, self.arms[1:], ends, on_class)
            if details:
                more |= self._percentiles(own) | self._outcomes(name, made)
        return pd.DataFrame({**columns, **more}, index=getattr(X, "index", None))

    def check_intervals(self, level: float) -> None:
        """Refuse a level of intervals out of range, or where a learner has no refits."""
        check_level(level)
        without = sorted(set(self.learners) - set(self.refits))
        if without:
            raise BundleError(
                f"Expected a model with refits, of which intervals are made; found none of "
                f"{', '.join(without)}. Set evaluation.refits in the config, such as 50, and run "
                "again; in the library, pass refits to Bundle.of, and load with refits."
            )

    def _percentiles(self, estimates: Mapping[str, Floats]) -> dict[str, Floats]:
        known = self.about.get("quantiles", {})
        return {
            f"percentile.{name.removeprefix('cate.')}": percentile(values, known[name])
            for name, values in estimates.items()
            if name in known
        }

    def _outcomes(self, name: str, made: Predictions) -> dict[str, Floats]:
        learner = self.learners[name]
        roles = map(learner.role_of, learner.NUISANCE_KINDS)
        if "outcome" not in roles or not set(learner.NUISANCE_KINDS) <= learner.SERVED:
            return {}  # it has no models of outcomes, or they aren't stored
        means = learner.outcomes(made, made)
        return named_columns("outcome", name, self.arms, means[:, :, -1], _class_name(learner))

    def save(self, folder: str | Path, signing_key: bytes = b"") -> None:
        """Write the bundle: models first, then a manifest with a digest of each file and itself.

        Only the owner may write to the files, and to the folder if this call makes it.

        Parameters
        ----------
        signing_key : bytes
            A secret; `load` with the same secret knows that this bundle is yours.
        """
        features = None if self.schema is None else self.schema.to_json()
        facts = {
            "format_version": 3 if self.refits else 2,
            "arms": self.arms,
            "features": features,
            "about": dict(self.about),
        }
        write_files(Path(folder), self._files(), facts, signing_key)

    def _files(self) -> Iterator[tuple[str, bytes]]:
        for name, learner in self.learners.items():
            yield f"{_file_of(name)}.pickle", pickle.dumps(learner.served(), protocol=5)
        for name, refits in self.refits.items():
            served = [one.served() for one in refits]
            yield f"{_file_of(name)}{_REFITS}", pickle.dumps(served, protocol=5)

    @classmethod
    def load(cls, folder: str | Path, signing_key: bytes = b"", refits: bool = False) -> "Bundle":
        """Read a bundle; each file is verified against the manifest before it is unpickled.

        A bundle is code: its maker can have any code run by whoever loads it.

        Parameters
        ----------
        signing_key : bytes
            A secret; a bundle that was saved without it is refused. Without a secret, the files'
            permissions decide: a bundle is refused if any user of this machine may write to it,
            and an `UntrustedWarning` says so if some others may.
        refits : bool
            Whether to read the refits too, as intervals need them.

        Raises
        ------
        BundleError
            If the folder holds no whole bundle, or somebody else may have written it.
        """
        check_key(signing_key)
        folder = Path(folder)
        manifest = read_manifest(folder / MANIFEST, signing_key)
        schema = _schema(manifest, folder / MANIFEST)
        files = {file: folder / Path(file).name for file in manifest["files"]}
        if not signing_key:
            check_bundle_makers(folder, [folder / MANIFEST, *files.values()])
        wanted = [file for file in files if refits or not file.endswith(_REFITS)]
        contents = {file: verified(files[file], file, manifest) for file in wanted}
        try:
            loaded = {file: pickle.loads(content) for file, content in contents.items()}
        except Exception as error:  # a class or a package is missing, or has another version
            raise BundleError(
                f"Expected the packages that the model in {folder} was made with, "
                f"{manifest['about'].get('versions')}; it can't be loaded here: {error}."
            ) from error
        _warn_of_versions(manifest["about"].get("versions", {}), folder)
        kinds: dict[bool, dict[str, Any]] = {False: {}, True: {}}  # by whether it has refits
        for file, made in loaded.items():
            end = _REFITS if file.endswith(_REFITS) else ".pickle"
            kinds[end == _REFITS][unquote(file.removesuffix(end))] = made
        learners, again = kinds[False], kinds[True]
        about, digest = manifest["about"], digest_of(manifest)
        bundle = cls(learners, manifest["arms"], schema, about, digest, again)
        bundle.use_all_cores()
        return bundle

    def use_all_cores(self, calls: int = 1) -> None:
        """Have all cores used where `predict` is called so many times at once, in threads."""
        for learner in chain(self.learners.values(), *self.refits.values()):
            if isinstance(learner, MetaLearner):  # unless a forged bundle holds anything else
                use_all_cores(learner.overall_models(), calls)


def _file_of(name: str) -> str:
    """The name of a learner's files: of an outcome with any letters, as in addresses."""
    return quote(name, safe=" ")


def _plain(label: Any) -> Any:
    """An arm's label as a value of JSON."""
    plain = label.item() if isinstance(label, np.generic) else label
    if not isinstance(plain, (str, int, float)):
        raise ValueError(
            f"Expected arms labelled by texts or numbers, which a file can hold; found {label!r}. "
            "Convert the labels, as with str, and fit again."
        )
    return plain


def _check_fitted(learner: Any, X: Matrix) -> None:
    check_matrix(X)
    if not isinstance(learner, MetaLearner) or not learner.__sklearn_is_fitted__():
        raise ValueError(f"Expected a fitted learner; found {learner!r}. Call fit first.")
    names, known = column_names(X), getattr(learner, "feature_names_in_", None)
    others = names is not None and known is not None and names != list(known)
    if others or X.shape[1] != getattr(learner, "n_features_in_", X.shape[1]):
        expected = learner.n_features_in_ if known is None else list(known)
        raise ValueError(
            f"Expected the features fitted on, {expected}; found {names or X.shape[1]}. Pass the X "
            "given to fit."
        )


def _check_refits(refits: Any, learner: Any) -> None:
    """Refuse refits that aren't those of a learner, or show no spread."""

    def is_refit(one: Any) -> bool:
        same = type(one) is type(learner) and isinstance(one, MetaLearner)
        return same and one.n_variants == learner.n_variants and one.__sklearn_is_fitted__()

    if not isinstance(refits, list) or len(refits) < 2 or not all(map(is_refit, refits)):
        raise BundleError(
            f"Expected refits as a list of two or more, each a fitted {type(learner).__name__} of "
            f"the same arms; found {reprlib.repr(refits)}. Pass what metalearners.intervals.refits "
            "gives."
        )


_SHAPING = ("lightgbm", "numpy", "pandas", "scikit-learn")


class VersionWarning(UserWarning):
    """The installed packages differ from those that a stored model was made with."""


def versions() -> dict[str, str]:
    """Versions of the packages that a model and its predictions depend on."""
    return {name: version(name) for name in _SHAPING}


def _warn_of_versions(made_with: Mapping[str, str], folder: Path) -> None:
    here = versions()
    other = {name: was for name, was in made_with.items() if here.get(name, was) != was}
    if other:
        shown = ", ".join(f"{name} {was} (here {here[name]})" for name, was in other.items())
        warnings.warn(
            f"Expected the packages that the model in {folder} was made with; found others: "
            f"{shown}. Its estimates may differ: install those, or fit it again.",
            VersionWarning,
            stacklevel=3,
        )


def _schema(manifest: Mapping[str, Any], path: Path) -> Schema | None:
    features = manifest.get("features")
    try:
        return None if features is None else Schema.from_json(features)
    except (TypeError, LookupError, AttributeError):
        raise BundleError(damaged(path)) from None


def _effects(name: str, learner: MetaLearner, made: Predictions) -> Floats:
    """(n, K-1) estimates of a learner, of its predictions for new rows."""
    estimates = learner.cate(made, made)
    if (n := estimates.shape[2]) > 2:
        raise BundleError(
            "Expected effects on one number, or on the second of two classes; "
            f"{name} has {n} classes. Call its own predict."
        )
    return estimates[:, :, -1]


def _class_name(learner: MetaLearner) -> str:
    """The class that effects are on; empty where classes are 0 and 1, and for numbers."""
    classes = learner.classes_
    plain = classes is None or classes.tolist() == [0, 1]
    return "" if plain else arm_name(_plain(classes[-1]))  # type: ignore[index]
