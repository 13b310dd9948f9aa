"""The two lock files: exact versions, one of each package, and nothing that is not needed."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def locked(name: str) -> dict[str, str]:
    """Versions by package. Every line is `package==version`: no option, no address, no path."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and line[0] != "#"]
    found = {}
    for line in lines:
        package, equal, version = line.partition("==")
        assert equal, line
        assert package == canonicalize_name(package), line
        assert version.replace(".", "").isalnum(), line
        found[package] = version
    assert len(found) == len(lines)
    return found


RUNTIME, DEVELOPMENT = locked("requirements.txt"), locked("requirements-dev.txt")
IN_RUNTIME = [*PROJECT["dependencies"], *EXTRAS["serve"], *EXTRAS["chart"]]
ADDED = [*EXTRAS["dev"], *EXTRAS["cluster"], *EXTRAS["ray-serve"]]


@pytest.mark.parametrize(
    ("lock", "wanted"), [(RUNTIME, IN_RUNTIME), (DEVELOPMENT, IN_RUNTIME + ADDED)]
)
def test_a_lock_has_what_it_is_for(lock: dict[str, str], wanted: list[str]) -> None:
    for requirement in map(Requirement, wanted):
        version = lock.get(canonicalize_name(requirement.name))
        assert version is not None, requirement
        assert requirement.specifier.contains(version), (requirement, version)


def test_both_locks_agree() -> None:
    assert RUNTIME.items() <= DEVELOPMENT.items()


def test_no_tool_is_in_the_runtime_lock_and_what_builds_the_sample_is_in_neither() -> None:
    tools = {canonicalize_name(Requirement(each).name) for each in EXTRAS["dev"]}
    assert not tools & RUNTIME.keys()
    builders = {canonicalize_name(Requirement(each).name) for each in EXTRAS["sample-data"]}
    assert builders
    assert not builders & DEVELOPMENT.keys()
    assert not {"scipy", "scikit-learn", "plotly"} & DEVELOPMENT.keys()
