"""A configuration and alert rules for Prometheus, and a dashboard for Grafana.

docs/runbook.md has one section per alert.
"""

from importlib.resources import files
from pathlib import Path

FILES = ("prometheus.yml", "alerts.yml", "dashboard.json")


def export(folder: Path) -> list[Path]:
    """Write the files to `folder`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in FILES:
        path = folder / name
        path.write_text(files(__package__).joinpath(name).read_text())
        written.append(path)
    return written
