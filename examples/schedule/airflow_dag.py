"""A DAG of Airflow 3.3: the steps of an evening, one task each.

Put it and `steps.py` into the folder of the DAGs. `revalue` has to be on the PATH of the workers,
and REVALUE_DATABASE_URL in their environment.
"""

from datetime import timedelta

import pendulum
import steps
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

FOLDER = "/srv/revalue/feed"


@dag(
    schedule="30 18 * * 1-5",
    start_date=pendulum.datetime(2024, 1, 1, tz="America/New_York"),
    catchup=False,
    max_active_runs=1,  # a day is valued after the one before
)
def revalue_nightly() -> None:
    """Load, value and report the day of the run."""
    done = {}
    for step in steps.STEPS:
        # On a day without all values `value` is skipped, and so is what needs them; the rest runs.
        rule = "all_success" if step in steps.NEEDS_COMPLETE else "none_failed"

        @task(task_id=step, retries=3, retry_delay=timedelta(minutes=5), trigger_rule=rule)
        def run(step: str, ds: str | None = None) -> None:
            if ds is None:
                raise AirflowFailException("there is no day: trigger the run with a logical date")
            try:
                steps.run(step, ds, FOLDER)
            except steps.IncompleteError as error:
                raise AirflowSkipException(str(error)) from error
            except steps.FailedError as error:
                raise AirflowFailException(str(error)) from error  # without a retry
            # Every other error, as steps.TryAgainError, is tried again.

        behind = list(done.values())[-1:]
        if step in steps.NEEDS_COMPLETE:
            behind.append(done["value"])
        done[step] = run(step)
        for each in behind:
            each >> done[step]


revalue_nightly()
