"""A PostgreSQL that takes encrypted connections only, and the certificates of both sides."""

import datetime
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

CERTIFIED = "certified"
"""A user of the database who needs a certificate of this name."""

_HBA = f"""
hostssl all {CERTIFIED} 127.0.0.1/32 cert
hostssl all postgres 127.0.0.1/32 trust
local all postgres trust
"""
_NOBODY = 65534


class Authority:
    """Who issues certificates. Its own is `name.pem` in the folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self.path = folder / f"{name}.pem"
        own = self._issue(self._name, self._key.public_key(), None)
        self.path.write_bytes(own.public_bytes(Encoding.PEM))

    def issue(self, name: str, *, host: str | None = None) -> tuple[Path, Path]:
        """Issue a certificate; return its file and that of its key, which only its owner reads."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._issue(_named(name), key.public_key(), host)
        path = self._folder / f"{self.path.stem}-{name}.crt"
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        of_key = path.with_suffix(".key")
        of_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        of_key.chmod(0o600)
        return path, of_key

    def _issue(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, host: str | None
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        is_authority = name == self._name
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )
        if host is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass(frozen=True)
class TlsServer:
    """The server.

    Attributes:
        folder: the programs' data, sockets and certificates.
        port: on 127.0.0.1.
        authority: who has issued the server's certificate (of `localhost`) and the clients'.
        other: another authority.
        programs: the folder of pg_dump, psql and the others.
        environment: in which these run.
    """

    folder: Path
    port: int
    authority: Authority
    other: Authority
    programs: Path
    environment: dict[str, str]

    def address(
        self,
        database: str = "postgres",
        *,
        user: str = "postgres",
        host: str = "localhost",
        **parameters: object,
    ) -> str:
        """Return an address of the server, with these parameters."""
        query = urlencode({name: str(value) for name, value in parameters.items()})
        return f"postgresql://{user}@{host}:{self.port}/{database}?{query}"

    def psql(self, statement: str) -> str:
        """Run a statement as the server's owner, over its socket; return what it prints."""
        command = [self.programs / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement]
        done = subprocess.run(
            [*command, "-h", self.folder, "-p", str(self.port), "-U", "postgres", "postgres"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def running(programs: Path, environment: dict[str, str]) -> Iterator[TlsServer]:
    """Run the server, as another user than root, who may not run it.

    Args:
        programs: the folder of initdb, postgres, psql and pg_dump.
        environment: in which they find their libraries.
    """
    folder = Path(tempfile.mkdtemp(prefix="revalue-tls-"))
    owner = _NOBODY if os.geteuid() == 0 else os.geteuid()
    authority, other = (Authority(folder, name) for name in ("authority", "other"))
    certificate, key = authority.issue("server", host="localhost")
    for path in (folder, certificate, key):
        os.chown(path, owner, -1)
    folder.chmod(0o755)
    (folder / "hba.conf").write_text(_HBA)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": folder,
        "hba_file": folder / "hba.conf",
        "ssl_cert_file": certificate,
        "ssl_key_file": key,
        "ssl_ca_file": authority.path,
        "fsync": "off",
        "shared_buffers": "64MB",
    }
    given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    data = folder / "data"
    made = subprocess.run(
        [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"],
        env=environment,
        user=owner,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    with (data / "postgresql.conf").open("a") as file:  # where ALTER SYSTEM overrides it
        file.write("ssl = on\n")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, *given],
            env=environment,
            user=owner,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        look = [programs / "pg_isready", "-h", folder, "-p", str(port)]
        end = time.monotonic() + 60
        while subprocess.run(look, env=environment, capture_output=True, check=False).returncode:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield TlsServer(folder, port, authority, other, programs, environment)
    finally:
        process.send_signal(signal.SIGINT)  # does not wait for its clients
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
