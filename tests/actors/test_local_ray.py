"""A local Ray is closed: it listens on loopback only, and nobody joins it without its token."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray

from revalue.actors import cluster
from revalue.actors.protocols import RayTooSlowError
from revalue.engine.errors import RevalueError, UsageError
from revalue.engine.settings import Settings

START = """
import json, sys
from revalue.actors import cluster
from revalue.engine.settings import Settings
import ray
with cluster.connected(Settings(actors=1)):
    value = ray.get(ray.remote(lambda: "worked").remote())
    address = ray.get_runtime_context().gcs_address
    print(json.dumps({"address": address, "value": value}), flush=True)
    sys.stdin.readline()
"""
JOIN = """
import sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False)
print("ran:", ray.get(ray.remote(lambda: "code").remote()))
"""


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The variables of a user who has set nothing of Ray, with a home directory of his own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "HOME": str(home), **variables}


@pytest.fixture
def local_ray(tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the driver of a Ray that the engine has started."""
    driver = subprocess.Popen(
        [sys.executable, "-c", START],
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    started = json.loads(driver.stdout.readline())
    assert started["value"] == "worked"
    yield started["address"], psutil.Process(driver.pid)
    driver.communicate("end\n", timeout=60)
    assert not list((tmp_path / ".ray").glob("*")), "a token was left in the home directory"


def join(address: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Connect to it from another process of this machine, and run code there.

    Ray connects to this machine's outer address instead of loopback, unless it is told otherwise.
    """
    variables |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_NUM_REDIS_GET_RETRIES": "2"}
    return subprocess.run(
        [sys.executable, "-c", JOIN, address],
        env=environment(home, **variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_local_ray_is_closed(local_ray: tuple[str, psutil.Process], tmp_path: Path) -> None:
    address, driver = local_ray
    listening = [
        (process.name(), connection.laddr.ip)
        for process in (driver, *driver.children(recursive=True))
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {ip.removeprefix("::ffff:") for _, ip in listening} == {"127.0.0.1"}, listening
    assert {name for name, _ in listening} >= {"gcs_server", "raylet"}
    for variables in (
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
    ):
        refused = join(address, tmp_path, **variables)
        assert refused.returncode != 0
        assert "ran:" not in refused.stdout
        assert "InvalidAuthToken" in refused.stderr, refused.stderr
    token = next(
        process.environ()["RAY_AUTH_TOKEN"]
        for process in driver.children()
        if process.name() == "raylet"
    )
    allowed = join(address, tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
    assert "ran: code" in allowed.stdout, allowed.stderr


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (Exception("The current node timed out during startup."), RayTooSlowError),
        (PermissionError("/tmp/ray"), UsageError),
    ],
)
def test_only_a_ray_that_starts_too_slowly_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, told: type[RevalueError]
) -> None:
    """In place of Ray: it waits half a minute before it says so, without a class of its own."""

    def init(**_: object) -> None:
        raise raised

    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with (
        pytest.raises(told, match="Ray cannot be reached at this machine: ") as error,
        cluster.connected(Settings()),
    ):
        pytest.fail("it is connected")
    assert error.type is told
    assert error.value.exit_code == (75 if told is RayTooSlowError else 2)
