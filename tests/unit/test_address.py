"""One address, as each driver takes it."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from asyncpg import connect_utils

from revalue.engine.errors import UsageError
from revalue.engine.postgres.address import asyncpg_address, libpq_address

HOST = "postgresql://u:p%40ss@h,i:5433/d"


@pytest.mark.parametrize(
    "address",
    [
        HOST,
        "postgresql://u@/d?host=/run/postgresql&port=5432",
        f"{HOST}?target_session_attrs=read-write&options=-csearch_path%3Dbook",
        f"{HOST}?sslmode=require&sslnegotiation=direct&ssl_min_protocol_version=TLSv1.3",
    ],
)
def test_what_both_drivers_know_stays_as_it_is_written(address: str) -> None:
    assert asyncpg_address(address) == address
    assert libpq_address(f"{HOST}?sslmode=require", []).startswith(f"{HOST}?sslmode=require&")


@pytest.mark.parametrize(
    "parameter",
    [
        *("connect_timeout=10", "keepalives=1", "keepalives_idle=5", "tcp_user_timeout=1000"),
        *("sslsni=0", "channel_binding=prefer", "gssencmode=disable", "sslcertmode=allow"),
    ],
)
def test_what_only_libpq_knows_is_not_sent_to_the_server_as_a_setting(parameter: str) -> None:
    address = f"{HOST}?{parameter}&sslmode=require"
    assert asyncpg_address(address) == f"{HOST}?sslmode=require"
    assert f"{parameter}&" in libpq_address(address, [])


@pytest.mark.parametrize(
    "parameter",
    [
        *("channel_binding=require", "gssencmode=require", "sslcertmode=require", "hostaddr=::1"),
        *("require_auth=scram-sha-256", "requirepeer=postgres", "sslcrldir=/etc/crl"),
    ],
)
def test_what_one_driver_cannot_keep_is_refused(parameter: str) -> None:
    with pytest.raises(UsageError, match=f"asks for {parameter}, which one of the drivers"):
        asyncpg_address(f"{HOST}?{parameter}")


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslkey", "sslcrl"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    there, missing = tmp_path / "there file.pem", tmp_path / "missing.pem"
    there.touch()
    given = f"{HOST}?{name}={str(there).replace(' ', '%20')}"
    assert asyncpg_address(given) == given
    for read in (asyncpg_address, lambda address: libpq_address(address, [])):
        with pytest.raises(UsageError, match=rf"{missing} \({name}\), which is not there"):
            read(f"{HOST}?{name}={missing}")


@pytest.mark.parametrize("read", [asyncpg_address, lambda address: libpq_address(address, [])])
def test_a_file_of_the_environment_that_is_not_there_is_named(
    read: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / "missing.pem"))
    with pytest.raises(UsageError, match=r"PGSSLROOTCERT names the file .*, which is not there"):
        read(f"{HOST}?sslmode=verify-ca")
    read("postgresql://u@/d?host=/run/postgresql&sslmode=verify-ca")
    read(HOST)
    there = tmp_path / "there.pem"
    there.touch()
    read(f"{HOST}?sslmode=verify-ca&sslrootcert={there}")
    with pytest.raises(UsageError, match=rf"{tmp_path} \(sslkey\), which cannot be read as a file"):
        read(f"{HOST}?sslrootcert={there}&sslkey={tmp_path}")


def test_a_plus_sign_is_no_blank_for_any_driver(tmp_path: Path) -> None:
    there = tmp_path / "a+b.pem"
    there.touch()
    address = asyncpg_address(f"{HOST}?sslrootcert={there}&application_name=a+b")
    assert parse_qs(urlsplit(address).query) == {
        "sslrootcert": [str(there)],
        "application_name": ["a+b"],
    }


def test_the_certificates_of_the_system_are_asked_for_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("PGSSLROOTCERT", "system")
    assert asyncpg_address(HOST) == f"{HOST}?sslmode=verify-full&sslrootcert={bundle}"
    monkeypatch.setenv("PGSSLMODE", "require")
    with pytest.raises(UsageError, match="anybody can have a certificate"):
        asyncpg_address(HOST)


def test_the_certificates_of_the_system_are_the_same_file_for_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    given = f"{HOST}?sslrootcert=system"
    expected = f"{HOST}?sslmode=verify-full&sslrootcert={bundle}"
    assert asyncpg_address(given) == asyncpg_address(f"{given}&sslmode=verify-full") == expected
    assert libpq_address(given, []).startswith(f"{expected}&")
    with pytest.raises(UsageError, match="anybody can have a certificate"):
        asyncpg_address(f"{given}&sslmode=require")


@pytest.mark.parametrize("read", [asyncpg_address, lambda address: libpq_address(address, [])])
@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ("foo=bar", "unknown parameter, foo: a setting of the session is written options=-c"),
        ("sslmode=require&foo", "unknown parameter, foo"),
        ("ssl_mode=require", "unknown parameter, ssl_mode: is it sslmode"),
        ("connect_timeuot=10", "unknown parameter, connect_timeuot: is it connect_timeout"),
        ("search_path=book", "unknown parameter, search_path"),
        ("=x", "unknown parameter, without a name"),
        ("database=d", "unknown parameter, database: the database's name stands after the host"),
        ("ssl=true", "unknown parameter, ssl: write sslmode=require"),
        ("application_name=a%00b", "a byte 0 in application_name"),
        ("sslmode=require&sslmode=disable", "has the parameter sslmode twice"),
    ],
)
def test_a_parameter_that_only_one_driver_would_understand_is_named(
    read: Callable[[str], str], parameter: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        read(f"{HOST}?{parameter}")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("postgresql://u@h/one?dbname=other", "dbname"),
        ("postgresql://u@h/d?user=other", "user"),
        ("postgresql://u:p@h/d?password=other", "password"),
        ("postgresql://u@h/d?host=other", "host"),
        ("postgresql://h:5432/d?port=5433", "port"),
        ("postgresql://u@h/d?port=5433", "port"),
        ("postgresql://u@h,i/d?port=5433", "port"),
    ],
)
def test_what_is_said_twice_is_refused_because_the_drivers_take_it_differently(
    address: str, name: str
) -> None:
    for read in (asyncpg_address, lambda address: libpq_address(address, [])):
        with pytest.raises(UsageError, match=f"says {name} before the question mark and after it"):
            read(address)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u@h/?dbname=b",
        "postgresql://u@h?dbname=b",
        "postgresql://?host=h&dbname=b&user=u",
        "postgresql:///b?host=h&port=5432&user=u",
    ],
)
def test_both_drivers_find_the_same_database(address: str) -> None:
    parse = connect_utils._parse_connect_dsn_and_args
    options = dict.fromkeys(set(signature(parse).parameters) - {"dsn"})
    hosts, found = parse(dsn=asyncpg_address(address), **options)
    assert (hosts, found.database, found.user) == ([("h", 5432)], "b", "u")
    assert libpq_address(address, []).startswith(f"{address}&")
