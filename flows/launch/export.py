"""Models of the registry go to MLflow's, with their figures and aliases."""

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from flows.errors import InputError
from flows.messages.secrets import check_address, without_secrets
from flows.registry.models import Models, load_bundle, need_secret
from flows.registry.records import Entry
from flows.registry.registry import ALIASES, Registry, open_registry
from flows.scoring import pyfunc
from metalearners.bundle import Bundle, versions
from metalearners.data.estimate_columns import arm_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_RUN = "uplift.run"  # the tag of a version that names the run whose model it is
_FOLDER = "model"
_NO_SIGN_OF_NAMES = re.compile(r"[^\w.\- ]")  # MLflow has folders where "/" stands
# By default MLflow reports its use to its makers, prints on standard output, and asks an absent
# server for four minutes.
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}


def export(reference: str, address: str, location: str) -> str:
    """Have a model of the registry in MLflow's too, once, and set the aliases there; a sentence.

    Raises InputError if there is no such model, the secret hasn't signed it, or MLflow isn't
    installed; what MLflow raises if its registry can't be written.
    """
    need_secret("uplift models export", "MLflow's store")
    models, run = _chosen(open_registry(location, "--storage"), reference)
    target = _Target(_client(address), models)
    number = target.version_of(run) or target.add(run)
    aliases = target.set_aliases()
    alias = next((f", its {name}" for name, bearer in aliases.items() if bearer == run), "")
    return f"{run} is version {number} of {models.name} at {address}{alias}."


def _chosen(registry: Registry, reference: str) -> tuple[Models, str]:
    """The model that is meant; of a name alone its champion."""
    named = f"{reference}@{ALIASES[0]}" if reference in registry.names() else reference
    return registry.find(named)


def _client(address: str) -> "MlflowClient":
    try:
        check_address(address)
    except ValueError:
        raise InputError(
            "--to: expected an address without credentials, as other users see a command's "
            f"arguments; found {without_secrets(address)}. Set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        ) from None
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise InputError(
            f"Expected the package mlflow-skinny; found that it can't be imported: {error}. "
            "pip install 'uplift-flows[mlflow]'."
        ) from None
    return MlflowClient(tracking_uri=address)


class _Target:
    """The models of a name in MLflow's registry.

    Parameters
    ----------
    client : MlflowClient
        Reaches MLflow.
    models : Models
        The same name's models in our registry.
    """

    def __init__(self, client: "MlflowClient", models: Models) -> None:
        self._client = client
        self._models = models
        self._name = models.name

    def version_of(self, run: str) -> str:
        """The version that is a run's model; empty where there is none."""
        asked = f"name = '{self._name}' and tags.`{_RUN}` = '{run}'"
        return next((str(found.version) for found in self._client.search_model_versions(asked)), "")

    def add(self, run: str) -> str:
        """Send a run's model: the version that it becomes, once all of it is there."""
        entry = self._models.entry(run)
        with tempfile.TemporaryDirectory() as folder, self._models.folder(run) as own:
            content = Path(folder, run)
            content.mkdir()
            for file in entry.files:
                shutil.copy(own / file, content)
            bundle = load_bundle(content)
            _save(content, Path(folder, _FOLDER), bundle)
            with self._run(run) as begun:
                self._log_figures(begun.info.run_id, entry)
                self._client.log_artifacts(begun.info.run_id, str(Path(folder, _FOLDER)), _FOLDER)
                return self._add_version(begun, _tags(entry, bundle))

    def set_aliases(self) -> dict[str, str | None]:
        """Have the aliases as our registry has them, by the run that bears each.

        An alias whose model isn't there goes: what bore it before doesn't any more.
        """
        last = self._models.history.last()
        bearers = {alias: getattr(last, alias, None) for alias in ALIASES}
        there = self._client.get_registered_model(self._name).aliases
        for alias, run in bearers.items():
            number = self.version_of(run) if run else ""
            if number:
                self._client.set_registered_model_alias(self._name, alias, number)
            elif alias in there:
                self._client.delete_registered_model_alias(self._name, alias)
        return bearers

    @contextlib.contextmanager
    def _run(self, run: str) -> Iterator["Run"]:
        """A run of MLflow, in the experiment of the models' name."""
        experiment = self._client.get_experiment_by_name(self._name)
        number = experiment and experiment.experiment_id
        begun = self._client.create_run(
            number or self._client.create_experiment(self._name), run_name=run
        )
        try:
            yield begun
        except BaseException:
            with contextlib.suppress(Exception):  # the first error says why
                self._client.set_terminated(begun.info.run_id, "FAILED")
            raise
        self._client.set_terminated(begun.info.run_id)

    def _log_figures(self, run_id: str, entry: Entry) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in _figures(entry).items()]
        self._client.log_batch(run_id, metrics)

    def _add_version(self, begun: "Run", tags: dict[str, str]) -> str:
        if not self._client.search_registered_models(f"name = '{self._name}'"):
            self._client.create_registered_model(self._name)
        source = f"{begun.info.artifact_uri}/{_FOLDER}"
        made = self._client.create_model_version(self._name, source, begun.info.run_id, tags)
        return str(made.version)


def _save(content: Path, folder: Path, bundle: Bundle) -> None:
    """Write a bundle's folder in the form that MLflow loads."""
    from mlflow.pyfunc import save_model

    made_with = bundle.about.get("versions", {})
    packages = {name: made_with[name] for name in versions() if name in made_with}
    packages["uplift-flows"] = version("uplift-flows")
    save_model(
        path=str(folder),
        loader_module=pyfunc.__name__,
        data_path=str(content),
        pip_requirements=[f"{name}=={number}" for name, number in packages.items()],
    )


def _tags(entry: Entry, bundle: Bundle) -> dict[str, str]:
    """What a version says of its model."""
    return {
        _RUN: entry.run,
        "uplift.logical_date": entry.date,
        "uplift.outcome": entry.outcome,
        "uplift.arms": json.dumps(bundle.arms, ensure_ascii=False),
        "uplift.digest": bundle.digest,
    }


def _figures(entry: Entry) -> dict[str, float]:
    """Effects and rankings with their standard errors, by names that MLflow takes."""
    figures = {f"ate.{arm_name(figure.arm)}": figure for figure in entry.ate}
    for learner, own in entry.qini.items():
        figures |= {f"qini.{learner}.{arm_name(figure.arm)}": figure for figure in own}
    found = {name: figure.estimate for name, figure in figures.items()}
    found |= {f"{name}.std_error": figure.std_error for name, figure in figures.items()}
    return {_metric(name): value for name, value in found.items() if value is not None}


def _metric(name: str) -> str:
    """A name that MLflow takes: other signs are written as numbers, so that names differ."""
    return _NO_SIGN_OF_NAMES.sub(lambda sign: f"_{ord(sign[0]):x}_", name)
