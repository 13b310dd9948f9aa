"""Programs of Debian's packages, for tests. They are not installed, so that no server starts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def unpacked(folder: Path, *packages: str) -> Path:
    """Unpack Debian's packages in the folder, and return it. Skip the test if there are none."""
    if not shutil.which("apt-get"):
        pytest.skip(f"this is no Debian whose packages {', '.join(packages)} could be fetched")
    for package in packages:
        fetched = subprocess.run(
            ["apt-get", "download", package],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if fetched.returncode:
            pytest.skip(f"Debian's package {package} cannot be fetched: {fetched.stderr.strip()}")
    for file in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(file), str(folder)], check=True)
    return folder


def with_libraries(folder: Path) -> dict[str, str]:
    """Return the environment in which programs find the libraries that are unpacked there."""
    found = [str(path) for path in (folder / "usr/lib").glob("*-linux-gnu*")]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(found)}
