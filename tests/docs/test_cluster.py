"""The manifests of docs/cluster against the schemas of those who read them, and the commands in
them against ours."""

import copy
import json
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from revalue.console.cli.main import app
from tests.monitoring.test_monitoring import parsed

CLUSTER = Path(__file__).parents[2] / "docs/cluster"
RAYJOB = json.loads((Path(__file__).parent / "schemas/kuberay-rayjob.json").read_text())


def manifest(name: str) -> Any:
    return yaml.safe_load((CLUSTER / name).read_text())


def test_ray_takes_the_cluster() -> None:
    cluster = manifest("ray-cluster.yaml")
    # As `ray up` does before it looks at the schema.
    prepared = prepare_config(copy.deepcopy(cluster))
    validate_config(prepared)
    assert prepared["max_workers"] == 2
    with pytest.raises(jsonschema.ValidationError):
        validate_config({**prepared, "setup_comands": []})
    installs = " ".join(cluster["setup_commands"])
    assert f"ray[default]=={version('ray')}" in installs


def test_kuberay_takes_the_job() -> None:
    job = manifest("rayjob.yaml")
    jsonschema.Draft7Validator(RAYJOB).validate(job)
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version("ray")
    name, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert name == "revalue"
    parsed(typer.main.get_command(app), arguments, job["spec"]["entrypoint"])


@pytest.mark.parametrize(
    "break_it",
    [
        lambda job: job["spec"].update(entryPoint="revalue"),
        lambda job: job["spec"].update(backoffLimit="two"),
        lambda job: job["spec"]["rayClusterSpec"]["headGroupSpec"].pop("template"),
        lambda job: job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0].update(replicas="2"),
        lambda job: job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"][
            "containers"
        ][0].pop("name"),
    ],
)
def test_the_schema_of_kuberay_that_is_kept_refuses_what_is_wrong(break_it: Any) -> None:
    job = manifest("rayjob.yaml")
    break_it(job)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, RAYJOB)
