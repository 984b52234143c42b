"""What scoring needs of fitted learners, in a folder: no data, no fold models."""

import copy
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pandas as pd

from metalearners._typing import Floats
from metalearners.metalearner import MetaLearner
from metalearners.schema import Schema
from metalearners.store import write_whole

_MANIFEST = "manifest.json"
_FORMAT = 1


class BundleError(ValueError):
    """A stored model that can't be used."""


@dataclass(frozen=True)
class Bundle:
    """Fitted learners with what their estimates mean.

    Parameters
    ----------
    learners : by name
    arms : labels of the arms, the control first
    schema : the features
    about : plain values a reader of the model wants, such as versions
    """

    learners: Mapping[str, MetaLearner]
    arms: list[Any]
    schema: Schema
    about: Mapping[str, Any]

    def predict(self, X: pd.DataFrame, propensity: Floats | None = None) -> pd.DataFrame:
        """CATE estimates of new rows, a column ``cate.<learner>.<arm>`` for each but the control.

        Raises
        ------
        SchemaError
            If the rows lack a feature, or it has other values than the model knows.
        """
        features = self.schema.conform(X)
        columns: dict[str, Floats] = {}
        for name, learner in self.learners.items():
            estimates = learner.predict(features, is_oos=True, propensity=propensity)[:, :, -1]
            columns |= estimate_columns(name, self.arms, estimates)
        return pd.DataFrame(columns, index=X.index)

    def save(self, folder: Path) -> None:
        """Write the bundle; its manifest, with each file's digest and its own, comes last."""
        digests = {}
        for name, learner in self.learners.items():
            content = pickle.dumps(_served(learner), protocol=5)
            write_whole(folder / f"{name}.pickle", content)
            digests[f"{name}.pickle"] = sha256(content).hexdigest()
        manifest = {
            "format_version": _FORMAT,
            "arms": self.arms,
            "features": self.schema.to_json(),
            "files": digests,
            "about": dict(self.about),
        }
        whole = {"digest": _digest(manifest), **manifest}
        write_whole(folder / _MANIFEST, json.dumps(whole, indent=2).encode())

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Read a bundle; each file is verified against the manifest before it is unpickled.

        Raises
        ------
        BundleError
            If the folder holds no whole bundle.
        """
        manifest = _manifest(folder / _MANIFEST)
        contents = {
            Path(file).stem: _verified(folder / Path(file).name, expected)
            for file, expected in manifest["files"].items()
        }
        try:
            learners = {name: pickle.loads(content) for name, content in contents.items()}
        except Exception as error:  # a class or a package that isn't here, or is another version
            raise BundleError(
                f"Expected the packages that the model in {folder} was made with, "
                f"{manifest['about'].get('versions')}; it can't be loaded here: {error}."
            ) from error
        schema = Schema.from_json(manifest["features"])
        return cls(learners, manifest["arms"], schema, manifest["about"])


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
        version, digest = manifest["format_version"], manifest.pop("digest", None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"Expected a stored model in {path.parent}; found none that can be read "
            f"({type(error).__name__}: {error}). Name a finished run."
        ) from error
    if version != _FORMAT:
        raise BundleError(
            f"Expected a model of format {_FORMAT}; found {version}. "
            "Score it with the version it was made with, or run again."
        )
    if digest != _digest(manifest):
        raise BundleError(_damaged(path))
    return cast(dict[str, Any], manifest)


def _digest(manifest: Mapping[str, Any]) -> str:
    return sha256(json.dumps(manifest).encode()).hexdigest()


def estimate_columns(learner: str, arms: list[Any], estimates: Floats) -> dict[str, Floats]:
    """(n, K-1) estimates as named columns."""
    names = (f"cate.{learner}.{arm_name(arm)}" for arm in arms[1:])
    return dict(zip(names, estimates.T, strict=True))


def arm_name(label: Any) -> str:
    """An arm's label in names of columns: integer-valued floats without ``.0``."""
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


def _served(learner: MetaLearner) -> MetaLearner:
    served = copy.copy(learner)
    served.__dict__.pop("in_sample_", None)
    return served


def _verified(path: Path, expected: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"Expected the file {path} of a stored model; {error.strerror}."
        ) from error
    if sha256(content).hexdigest() != expected:
        raise BundleError(_damaged(path))
    return content


def _damaged(path: Path) -> str:
    return (
        f"Expected {path} as it was written; found other content. The model is damaged: restore "
        "the folder or run again."
    )
