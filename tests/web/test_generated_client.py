"""A client of the API that is generated from its description, as docs/api.md says."""

import contextlib
import importlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from revalue.console.web.app import create_app
from revalue.engine.settings import Settings
from tests.conftest import book_template, named
from tests.support import DAYS
from tests.web.served import served

ROOT = Path(__file__).parents[2]
GENERATOR = ROOT / "build/api-client"
API_PAGE = (ROOT / "docs/api.md").read_text()


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The output of the generator; the client can be imported as `revalue_client`."""
    if not GENERATOR.exists() and not os.environ.get("CI"):
        pytest.skip("the generator is not installed: make build/api-client")
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(json.dumps(create_app("postgresql://nowhere").openapi()))
    [config] = re.findall(r"^```yaml\n(.*?)^```$", API_PAGE, flags=re.MULTILINE | re.DOTALL)
    (folder / "client.yml").write_text(config)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate"),
            *("--path", "openapi.json", "--config", "client.yml", "--output-path", "made"),
        ],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(GENERATOR)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder / "made"))
    yield done.stdout
    sys.path.remove(str(folder / "made"))


def operation(name: str) -> ModuleType:
    return importlib.import_module(f"revalue_client.api.{name}")


def test_no_call_is_left_out(generated: str) -> None:
    """Each is a function named by its operation id. A file of corrections can be sent as CSV, the
    other form is named in a warning."""
    paths: dict[str, Any] = create_app("postgresql://nowhere").openapi()["paths"]
    described = [
        f"{each['tags'][0]}.{each['operationId']}"
        for methods in paths.values()
        for each in methods.values()
    ]
    api = Path(importlib.import_module("revalue_client.api").__path__[0])
    made = [
        f"{path.parent.name}.{path.stem}"
        for path in api.rglob("*.py")
        if path.name != "__init__.py"
    ]
    assert sorted(made) == sorted(described)
    assert all(callable(operation(name).sync) for name in described)
    assert "Endpoint will not be generated" not in generated


@pytest.mark.slow
async def test_a_generated_client_reads_and_previews(
    generated: str, server_url: str, template: str
) -> None:
    url = named(server_url, await book_template(server_url, template, 2))
    with served(url, Settings()) as server:
        address = f"http://localhost:{server.port}"
        client = importlib.import_module("revalue_client").Client(base_url=address)

        found = operation("portfolios.list_portfolios").sync(client=client)
        assert [each.portfolio_id for each in found.items] == ["P1", "P2"]
        [block] = re.findall(r"^```python\n(.*?)^```$", API_PAGE, flags=re.MULTILINE | re.DOTALL)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(block.replace("http://127.0.0.1:8460", address), {})
        assert printed.getvalue() == "['P1', 'P2']\n", "what the page shows"

        history = operation("positions.get_history").sync(
            "P2", "A", client=client, from_=DAYS[3], to=DAYS[5]
        )
        async with httpx.AsyncClient(timeout=30) as plain:
            path = f"/positions/P2/A/history?from={DAYS[3]}&to={DAYS[5]}"
            raw = (await plain.get(address + path)).json()
        assert [each.date for each in history.items] == DAYS[3:6]
        assert [each.market_value for each in history.items] == [
            each["market_value"] for each in raw["items"]
        ]
        assert raw["items"][0]["market_value"].count(".") == 1, "text, with all its places"

        file = "security_id,price_date,price,currency,quote_basis\n"
        file += f"A,{DAYS[3]},1.5,USD,PER_UNIT\n"
        payload = importlib.import_module("revalue_client.types").File(payload=file.encode())
        preview = operation("corrections.preview_file").sync
        assert inspect.signature(preview).parameters["body"].annotation is type(payload)
        told = preview(client=client, body=payload)
        assert (told.positions, told.position_days) == (2, 2)

        missing = operation("portfolios.list_totals").sync(
            "P9", client=client, from_=DAYS[3], to=DAYS[5]
        )
        assert (missing.status, missing.title) == (404, "NotFoundError")
