"""The address of the database as each of the two drivers takes it.

An address is written as for libpq (psql, pg_dump), by which ADBC connects. asyncpg knows most of
its parameters, and takes a parameter that it does not know for a setting of the server. What it
cannot keep is refused here: one driver would connect in a way that the address forbids.
"""

import os
import ssl
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import quote, unquote

from revalue.engine.errors import UsageError
from revalue.engine.postgres.liveness import LIBPQ_PARAMETERS

_OF_LIBPQ_ONLY = {
    *("connect_timeout", "tcp_user_timeout", "fallback_application_name", "load_balance_hosts"),
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
    *("sslsni", "sslcompression", "sslkeylogfile", "gssdelegation"),
    *("min_protocol_version", "max_protocol_version"),
}
"""What asyncpg does without: it has limits of its own (liveness), or has no such feature."""

_KEPT_BY_LIBPQ_ONLY = {
    "channel_binding": ("prefer", "disable"),
    "gssencmode": ("prefer", "disable"),
    "sslcertmode": ("allow", "disable"),
    "require_auth": (),
    "requirepeer": (),
    "hostaddr": (),
    "sslcrldir": (),
}
"""What asyncpg does not know, and may ignore if it has one of these values."""

_OF_BOTH = {
    *("host", "port", "user", "password", "passfile", "dbname", "service"),
    *("application_name", "client_encoding", "options", "target_session_attrs"),
    *("sslmode", "sslnegotiation", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib"),
}
_KNOWN = _OF_BOTH | _OF_LIBPQ_ONLY | _KEPT_BY_LIBPQ_ONLY.keys()
_ELSEWHERE = {
    "database": "the database's name stands after the host: postgresql://user@host/database",
    "ssl": "write sslmode=require",
}
"""What stands in addresses for other drivers."""

_ENCRYPTED = ("require", "verify-ca", "verify-full")
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/ssl/cert.pem",  # Alpine, macOS
)


def asyncpg_address(url: str) -> str:
    """Return the address for asyncpg.

    Raises:
        UsageError: it asks for something that asyncpg cannot keep, or names a file that is not
            there.
    """
    base, given = _parse(url)
    _, slash, database = base.partition("://")[2].partition("/")
    if slash and not database:
        base = base[:-1]  # to asyncpg it names a database, so that it would not look for dbname
    kept = []
    for name, value in _checked(given):
        if name in _OF_LIBPQ_ONLY:
            continue
        if name in _KEPT_BY_LIBPQ_ONLY:
            if value not in _KEPT_BY_LIBPQ_ONLY[name]:
                raise UsageError(
                    f"the database's address asks for {name}={value}, which one of the drivers "
                    "(asyncpg) cannot keep: leave it out. sslmode=verify-full with sslrootcert "
                    "checks whose server it is"
                )
            continue
        kept.append((name, value))
    return _written(base, kept)  # as it was, asyncpg would take a plus sign for a blank


def libpq_address(url: str, options: Sequence[str]) -> str:
    """Return the address for libpq: with keepalives, and with these options of the session.

    What the address says itself about keepalives and timeouts stays. Its own options come first, so
    that these take precedence.

    Raises:
        UsageError: it names a file that is not there.
    """
    base, parameters = _parse(url)
    parameters = _checked(parameters)
    given = dict(parameters)
    own = [given["options"]] if given.get("options") else []
    kept = [(name, value) for name, value in parameters if name != "options"]
    kept += [(name, str(value)) for name, value in LIBPQ_PARAMETERS.items() if name not in given]
    session = " ".join([*own, *options])
    return _written(base, [*kept, *([("options", session)] if session else [])])


def _parse(url: str) -> tuple[str, list[tuple[str, str]]]:
    """Return what stands before the parameters, and these."""
    base, _, query = url.partition("?")
    parts = [part.partition("=") for part in query.split("&") if part]
    given = [(unquote(name), unquote(value)) for name, _, value in parts]
    _require_known(given)
    _require_once(base, [name for name, _ in given])
    return base, given


def _require_known(given: list[tuple[str, str]]) -> None:
    """Refuse a parameter that only one of the drivers would take, for something else."""
    for name, value in given:
        if name not in _KNOWN:
            like = get_close_matches(name, _KNOWN, 1)
            advice = _ELSEWHERE.get(name) or (
                f"is it {like[0]}?"
                if like
                else "a setting of the session is written options=-cNAME%3DVALUE"
            )
            raise UsageError(
                f"the database's address has an unknown parameter, {name or 'without a name'}: "
                f"{advice}"
            )
        if "\0" in value:
            raise UsageError(f"the database's address has a byte 0 in {name}")


def _require_once(base: str, names: list[str]) -> None:
    """Refuse what is said twice: one driver takes the first, the other one the last.

    One of them would read another database than the one into which the other one writes.
    """
    before, _, database = base.partition("://")[2].partition("/")
    user, _, hosts = before.rpartition("@")
    said = {
        "user": user.partition(":")[0],
        "password": user.partition(":")[2],
        "host": hosts,
        "port": hosts,  # asyncpg takes the usual port for a host without one
        "dbname": database,
    }
    for name in names:
        if said.get(name):
            raise UsageError(
                f"the database's address says {name} before the question mark and after it: write "
                "it once, as in postgresql://user@host:port/database"
            )
        if names.count(name) > 1:
            raise UsageError(f"the database's address has the parameter {name} twice")


def _checked(parameters: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the parameters with the names of files that are there.

    Both drivers take from the environment what the parameters do not say. What it says of TLS has
    no effect on a socket of this machine.
    """
    given = dict(parameters)
    environment = {} if given.get("host", "").startswith("/") else os.environ
    if given.get("sslrootcert", environment.get("PGSSLROOTCERT")) == "system":
        parameters = _with_system_certificates(parameters)
        given = dict(parameters)
    is_encrypted = (given.get("sslmode") or environment.get("PGSSLMODE")) in _ENCRYPTED
    for name in _FILES:
        variable = f"PG{name.upper()}"
        if name in given:
            _require_file(given[name], f"the database's address names the file {{}} ({name})")
        elif is_encrypted and variable in environment:
            _require_file(environment[variable], f"{variable} names the file {{}}")
    return parameters


def _require_file(path: str, words: str) -> None:
    if path and not (Path(path).is_file() and os.access(path, os.R_OK)):
        why = "cannot be read as a file" if Path(path).exists() else "is not there"
        raise UsageError(f"{words.format(path)}, which {why}")


def _written(base: str, parameters: list[tuple[str, str]]) -> str:
    if not parameters:
        return base
    return f"{base}?{'&'.join(f'{name}={quote(value)}' for name, value in parameters)}"


def _with_system_certificates(parameters: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Replace `sslrootcert=system` by the file that has the system's certificates.

    asyncpg does not know the word, and libpq would look where the one that ADBC brings was built
    for. As for libpq, the name of the host is compared, too: anybody can have a certificate of one
    of these authorities.
    """
    mode = dict(parameters).get("sslmode") or os.environ.get("PGSSLMODE") or "verify-full"
    if mode != "verify-full":
        raise UsageError(
            f"the database's address has sslrootcert=system and sslmode={mode}: anybody can have a "
            "certificate of an authority that the system trusts. Write sslmode=verify-full"
        )
    found = [os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *_BUNDLES]
    bundle = next((each for each in found if each and Path(each).is_file()), None)
    if bundle is None:
        raise UsageError(
            "the database's address has sslrootcert=system, and no file of the system's "
            "certificates was found: name it by SSL_CERT_FILE, or as sslrootcert"
        )
    others = [each for each in parameters if each[0] not in ("sslrootcert", "sslmode")]
    return [*others, ("sslmode", mode), ("sslrootcert", bundle)]
