"""Revalue as a user installs it: one top-level name, which no folder of the user's can hide."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from revalue.engine.postgres import embedded, schema

ROOT = Path(__file__).parents[2]
ROOMS = ("engine", "actors", "console", "benchmarks", "migrations")


@dataclass(frozen=True)
class Installed:
    """A Python with one revalue, and a folder that has packages with the names of its folders."""

    python: Path
    home: Path
    folder: Path
    data_dir: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python), *command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        left_out = ("PYTHONPATH", "REVALUE_DATABASE_URL")
        kept = {name: value for name, value in os.environ.items() if name not in left_out}
        return {**kept, "REVALUE_DATA_DIR": str(self.data_dir)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the source, as setuptools leaves folders behind where it builds."""
    source, made = tmp_path_factory.mktemp("source") / "revalue", tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "tests", "docs")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    command = ["pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(made), str(source)]
    subprocess.run([sys.executable, "-m", *command], check=True, timeout=300)
    [path] = made.glob("revalue-*.whl")
    return path


@pytest.fixture(scope="module")
def wheel_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment without revalue but for the wheel; what revalue needs is that of the tests."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin/python"
    packages = place / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    # A path in a .pth file: the editable install of the tests, a .pth file itself, is not followed.
    needed = [path for path in sys.path if path.endswith("-packages")]
    (packages / "needed.pth").write_text("\n".join([sysconfig.get_path("purelib"), *needed]))
    options = ["--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    command = ["pip", "--python", str(python), "install", *options, str(wheel)]
    subprocess.run([sys.executable, "-m", *command], check=True, timeout=300)
    return python


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(
    request: pytest.FixtureRequest,
    wheel_python: Path,
    tmp_path_factory: pytest.TempPathFactory,
    data_dir: Path,
) -> Iterator[Installed]:
    """The wheel in an environment of its own, and the editable install that the tests run from."""
    folder = tmp_path_factory.mktemp("project")
    for name in ROOMS:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise RuntimeError('the user\\'s own {name}')")
    own = data_dir / request.param  # a short path, as that of the server's socket has to be
    if request.param == "wheel":
        yield Installed(wheel_python, wheel_python.parents[1], folder, own)
    else:
        yield Installed(Path(sys.executable), ROOT / "revalue", folder, own)
    embedded.stop(own)


def test_the_wheel_installs_revalue_alone_with_all_it_needs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"revalue"}
    for room in ROOMS:
        here = {
            f"revalue/{path.relative_to(ROOT)}"
            for suffix in ("py", "sql", "js", "css", "html", "svg", "parquet", "json", "yml")
            for path in (ROOT / room).rglob(f"*.{suffix}")
            if path.parent.name != "records"
        }
        assert here <= set(names), sorted(here - set(names))[:5]
    assert "revalue/py.typed" in names
    licences = {Path(name).name for name in names if ".dist-info/licenses/" in name}
    assert {"LICENSE", "NOTICE", "LICENSE-skfolio"} <= licences


def test_it_is_imported_beside_packages_of_the_same_names(installed: Installed) -> None:
    done = installed.run("-c", "import revalue; print(revalue.__file__, revalue.connect.__name__)")
    assert done.returncode == 0, done.stderr
    path, name = done.stdout.split()
    assert Path(path).is_relative_to(installed.home)
    assert name == "connect"


def test_reading_needs_neither_a_web_server_nor_a_chart_nor_ray(installed: Installed) -> None:
    code = """if True:
        import sys, revalue
        revalue.Book, revalue.connect, revalue.Price
        from revalue.console.cli import main
        found = {"matplotlib", "fastapi", "uvicorn", "starlette", "ray"} & set(sys.modules)
        print(*sorted(found))
    """
    done = installed.run("-c", code)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stdout + done.stderr


def test_the_command_line_runs_there(installed: Installed) -> None:
    version = installed.run("-m", "revalue", "--version")
    assert (version.returncode, version.stdout) == (0, "revalue 0.1.0\n"), version.stderr
    migrated = installed.run("-m", "revalue", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    assert schema.head() in migrated.stdout


def test_the_demo_begins_there(installed: Installed) -> None:
    """Up to the loaded sample book; the rest of the demo is the same code as anywhere."""
    command = [str(installed.python), "-u", "-m", "revalue", "demo"]
    with subprocess.Popen(
        command,
        cwd=installed.folder,
        env=installed.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        seen = []
        for line in demo.stdout:
            seen.append(line)
            if line.startswith("2."):
                break
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=180)
    reached = any(line.startswith("2. sample book: 220,504 rows") for line in seen)
    assert reached, "".join(seen) + errors
