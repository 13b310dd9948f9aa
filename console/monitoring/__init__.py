"""What Prometheus and Grafana need to watch an engine: alert rules and a dashboard. docs/runbook.md has a section an alert."""

from importlib.resources import files
from pathlib import Path

FILES = ("alerts.yml", "dashboard.json")


def export(folder: Path) -> list[Path]:
    """Writes the files to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in FILES:
        path = folder / name
        path.write_text(files(__package__).joinpath(name).read_text())
        written.append(path)
    return written
