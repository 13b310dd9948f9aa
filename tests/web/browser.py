"""The console in a real Chromium: a server in its own thread, the browser, and errors of pages."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.async_api import Browser, Page, async_playwright


def chromium() -> str:
    """Return the path of Chromium; install Debian's package if there is none and root runs this."""
    for _ in range(2):
        for name in ("chromium", "chromium-browser", "google-chrome"):
            if found := shutil.which(name):
                return found
        if not shutil.which("apt-get") or os.geteuid() != 0:
            break
        install = "apt-get install -y --no-install-recommends chromium"
        subprocess.run(
            ["sh", "-c", f"{install} || (apt-get update && {install})"],
            check=False,
            capture_output=True,
        )
    pytest.skip("there is no Chromium, and Debian's package cannot be installed")


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve the application, and give its address."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < end
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join()


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Open a browser without a window. Without its sandbox too, which root cannot use."""
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            yield opened
        finally:
            await opened.close()


@asynccontextmanager
async def page(
    opened: Browser, base: str, *, expected: str = "nothing", **options: Any
) -> AsyncIterator[Page]:
    """Open a page in its own profile, and check it at its end.

    There must be no error in its console, no exception, and no request to another host. Errors that
    contain `expected` are allowed, such as the browser's own line about a request that failed.
    """
    context = await opened.new_context(base_url=base, **options)
    shown = await context.new_page()
    wrong: list[str] = []
    shown.on(
        "console",
        lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None,
    )
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on(
        "request",
        lambda request: None if request.url.startswith(base) else wrong.append(request.url),
    )
    try:
        yield shown
    finally:
        await context.close()
    assert [each for each in wrong if expected not in each] == []
