"""A cluster of three nodes that loses one while it works; the command line as a Ray job."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.job_submission import JobSubmissionClient

from revalue.actors import cluster
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.faults.checks import assert_all_correct
from tests.on_ray import wait_until_quiet
from tests.support import DAYS, execute, fetch, load_small_book, until

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(
    actors=3,
    task_rows=20,
    task_starts_per_second=1000,
    poll_seconds=0.2,
    lease_seconds=2,
    task_deadline_seconds=20,
)
# A node that does not answer is considered dead after about 3 seconds, not 13.
HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}


@pytest.fixture
def three_nodes() -> Iterator[Cluster]:
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": HEALTH})
    for _ in range(2):
        made.add_node(num_cpus=1)
    ray.init(
        address=made.address,
        namespace=cluster.NAMESPACE,
        log_to_driver=False,
        logging_level="ERROR",
    )
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


async def holds(database: Database, query: str) -> bool:
    return bool((await fetch(database, query))[0][0])


async def test_a_node_is_lost_while_it_works(
    three_nodes: Cluster, url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=20)
    scheduler = cluster.start_scheduler(url, SETTINGS)
    wait_until_quiet(scheduler)
    await execute(database, "UPDATE market_prices SET price = price + 1")
    query = "SELECT EXISTS (SELECT FROM daily_position_snapshots WHERE epoch = 1)"
    await until(lambda: holds(database, query))
    three_nodes.remove_node(three_nodes.list_all_nodes()[-1], allow_graceful=False)
    wait_until_quiet(scheduler)
    assert await assert_all_correct(database) == 40 * len(DAYS)
    cluster.stop_scheduler(scheduler)


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    binaries = Path(sys.executable).parent
    return subprocess.run(
        [str(binaries / command[0]), *command[1:]],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def takes_jobs(head: str) -> bool:
    """Whether a head is so far that it runs a job: it begins without an agent for them."""
    try:
        JobSubmissionClient(head).submit_job(entrypoint="true")
    except (ConnectionError, RuntimeError):
        return False
    return True


def free_ports(count: int) -> list[str]:
    """Ports of this machine on which nobody listens: another Ray may use the usual ones."""
    with ExitStack() as sockets:
        return [
            str(sockets.enter_context(socket.create_server(("", 0))).getsockname()[1])
            for _ in range(count)
        ]


@pytest.fixture
def head() -> Iterator[str]:
    """A head of its own, started by `ray start`; yields the address for jobs.

    It is ended by the ids of its processes: `ray stop` would end every Ray on this machine.
    """
    port, dashboard, agent = free_ports(3)
    command = [
        str(Path(sys.executable).parent / "ray"),
        *("start", "--head", "--block", "--num-cpus", "2", "--disable-usage-stats"),
        *("--port", port, "--dashboard-port", dashboard, "--dashboard-agent-listen-port", agent),
    ]
    started = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield f"http://127.0.0.1:{dashboard}"
    children = psutil.Process(started.pid).children(recursive=True)
    started.terminate()
    _, alive = psutil.wait_procs([started, *children], timeout=10)
    for process in alive:
        process.kill()


async def test_the_command_line_as_a_ray_job(head: str, url: str, database: Database) -> None:
    """As docs/cluster.md says: this folder is submitted as a job to a running head; the job's logs
    and exit code are the command's."""
    await load_small_book(database, portfolios=2)
    variables = json.dumps(
        {"env_vars": {"REVALUE_DATABASE_URL": url, "RAY_JOB_STOP_WAIT_TIME_S": "60"}}
    )
    submit = (
        "ray",
        "job",
        "submit",
        "--address",
        head,
        "--working-dir",
        ".",
        "--runtime-env-json",
        variables,
    )
    program = str(Path(sys.executable).parent / "revalue")
    await until(lambda: asyncio.to_thread(takes_jobs, head), seconds=120)
    done = await asyncio.to_thread(run, *submit, "--", program, "value")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "80 position-days" in done.stdout
    assert await assert_all_correct(database) == 4 * len(DAYS)
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date > $1", DAYS[4]
    )
    left = await asyncio.to_thread(run, *submit, "--", program, "value", "--quiet")
    assert left.returncode != 0
    assert "PRICE_TOO_OLD A" in left.stdout, left.stdout
    assert "exit code 5" in left.stdout + left.stderr, left.stdout + left.stderr
    # A stopped job finishes the tasks in flight, releases its term and reports what is left.
    jobs = JobSubmissionClient(head)
    watching = jobs.submit_job(
        entrypoint=f"{program} value --watch",
        runtime_env={"working_dir": str(ROOT), **json.loads(variables)},
    )
    query = "SELECT holder IS NOT NULL FROM scheduler_term"
    await until(lambda: holds(database, query), seconds=120)
    jobs.stop_job(watching)
    await until(lambda: holds(database, "SELECT holder IS NULL FROM scheduler_term"), seconds=120)
    told = "not every position is current: 2 positions waiting for data"
    await until(lambda: told in jobs.get_job_logs(watching), seconds=60)
