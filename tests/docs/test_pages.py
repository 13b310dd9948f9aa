"""The pages for users are run as they stand: Python by doctest, shell commands by bash."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import book_template, named

ROOT = Path(__file__).parents[2]


def environment(url: str) -> dict[str, str]:
    """That of a user who has set a database and nothing else."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {
        **os.environ,
        "PATH": path,
        "REVALUE_DATABASE_URL": url,
        "PYTHONPATH": str(ROOT),
    }


def ran(
    command: list[str], url: str, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**environment(url), **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_the_python_page(bare_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "doctest", str(ROOT / "docs/python.md")]
    run = ran(command, bare_url, tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert ">>> book.value()" in (ROOT / "docs/python.md").read_text().replace("run = ", "")


def test_the_first_block_of_the_readme(bare_url: str) -> None:
    """As it stands, in the folder of the clone, where its data files are."""
    block = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)[0]
    run = ran([sys.executable, "-c", block], bare_url, ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "GROWTH" in run.stdout


def test_the_page_on_data_of_ones_own(bare_url: str, tmp_path: Path) -> None:
    """The blocks marked `sh` are run in their order, as one script that stops at the first
    failure."""
    page = (ROOT / "docs/own-data.md").read_text()
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL))
    run = ran(["bash", "-euo", "pipefail", "-c", script], bare_url, tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    promised = re.findall(r"^```text\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert promised
    for output in promised:
        assert output.strip() in run.stdout, run.stdout


def test_the_page_on_the_lake(bare_url: str, tmp_path: Path) -> None:
    """With two months of the sample book in place of thirteen years."""
    page = (ROOT / "docs/lake.md").read_text().replace("2022-12-28", "2010-02-26")
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL))
    command = ["bash", "-euo", "pipefail", "-c", script]
    variables = {"HOME": str(tmp_path), "REVALUE_LAKE_TASK_ROWS": "100"}
    run = ran(command, bare_url, tmp_path, **variables)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{tmp_path}/revalue-lake: 1 file, " in run.stdout
    assert "The lake is sound" in run.stdout


def test_the_page_on_exports(bare_url: str, tmp_path: Path) -> None:
    """Its commands, with two months of the sample book in place of thirteen years, and then the
    Python that reads their tables."""
    page = (ROOT / "docs/export.md").read_text().replace("2022-12-28", "2010-02-26")
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL))
    run = ran(["bash", "-euo", "pipefail", "-c", script], bare_url, tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    [promised] = re.findall(r"^```text\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert promised.strip() in run.stdout
    [block] = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    run = ran([sys.executable, "-c", block], bare_url, tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2010-02-26" in run.stdout


async def test_the_page_on_backups(
    server_url: str, template: str, bare_url: str, tmp_path: Path
) -> None:
    book = named(server_url, await book_template(server_url, template, 2))
    page = (ROOT / "docs/backup.md").read_text()
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL))
    command = ["bash", "-euo", "pipefail", "-c", script]
    run = await asyncio.to_thread(ran, command, book, tmp_path, BOOK=book, COPY=bare_url)
    assert run.returncode == 0, run.stdout + run.stderr
    assert (
        "80 rows of 4 positions recomputed one by one in plain decimals: 0 disagree" in run.stdout
    )


def test_the_books_of_the_page_for_operators(data_dir: Path, server_url: str) -> None:
    """On the embedded server, with no address set."""
    page = (ROOT / "docs/operating.md").read_text().partition("## Several books")[2]
    [script] = re.findall(r"^```sh\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    variables = {**environment(""), "REVALUE_DATA_DIR": str(data_dir)}
    del variables["REVALUE_DATABASE_URL"]
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "│ trial " in run.stdout
    assert "the book trial is deleted" in run.stdout


def test_the_reference_is_made_of_modules_that_exist(tmp_path: Path) -> None:
    rule = (ROOT / "Makefile").read_text().partition("\nreference:")[2].partition("\n\n")[0]
    modules = re.findall(r"\brevalue(?:\.[\w.]+)?(?=\s|$)", rule)
    assert "revalue.engine.book" in modules
    made = subprocess.run(
        [sys.executable, "-m", "pdoc", "--output-directory", str(tmp_path), *modules],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert "Warn" not in made.stderr, made.stderr
    assert "made and rolled back" in (tmp_path / "revalue/engine/book.html").read_text()
