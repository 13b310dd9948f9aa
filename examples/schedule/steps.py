"""The commands of an evening, and what a scheduler does about their exit codes.

`airflow_dag.py` and `dagster_job.py` use it; it needs neither of them.
"""

import subprocess

STEPS = {
    "load_rates": ("load", "fx_rates", "fx_rates.csv"),
    "load_prices": ("load", "prices", "prices.csv"),
    "load_positions": ("load", "positions", "positions.csv"),
    "value": ("value", "--through", "{day}", "--quiet"),
    "exceptions": ("exceptions", "--date", "{day}", "--output", "exceptions-{day}.csv"),
    "verify": ("verify", "--rows", "10000"),
    "totals": ("read", "totals", "--date", "{day}", "--output", "totals-{day}.csv"),
}
"""The arguments of `revalue` by the name of the step, in order. Each can be run again."""

NEEDS_COMPLETE = ("verify", "totals")
"""The steps that are left out on a day on which some positions have no value."""


class TryAgainError(Exception):
    """Trying again later may succeed: another scheduler leads, or the database is away."""


class IncompleteError(Exception):
    """Some positions have no value. Trying again does not help before their data are there."""


class FailedError(Exception):
    """It is the same at each attempt: somebody has to look."""


def run(step: str, day: str, folder: str) -> None:
    """Run a step for a day, in the folder of the day's files.

    Args:
        step: one of STEPS.
        day: YYYY-MM-DD.
        folder: where the files are read and written.

    Raises:
        TryAgainError: exit code 3 or 75, and 130 or 143: it was stopped.
        IncompleteError: exit code 5.
        FailedError: any other exit code but 0.
    """
    command = ["revalue", *(part.format(day=day) for part in STEPS[step])]
    code = subprocess.run(command, cwd=folder, check=False).returncode
    said = f"{' '.join(command)}: exit code {code}"
    match code:
        case 0:
            return
        case 3 | 75 | 130 | 143:
            raise TryAgainError(said)
        case 5:
            raise IncompleteError(said)
        case _:
            raise FailedError(said)
