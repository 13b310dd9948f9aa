"""What goes wrong between the engine and an object store: no part of a file is ever seen, a file is
stored once, and each error says whether it passes."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from revalue.engine.errors import (
    RevalueError,
    StorageAccessError,
    StorageFileMissingError,
    StorageSetupError,
    StorageUnavailableError,
)
from revalue.engine.lake import s3_storage
from revalue.engine.lake.storage import LakeStorage, open_storage
from revalue.engine.lake.storage_errors import error_of_s3
from tests import s3_proxy
from tests.s3_proxy import Fault, S3Proxy, answered
from tests.seaweed import BUCKET, ObjectStore

DATA = bytes(range(256)) * 8_000
"""2 MB: more than the buffers of the connections."""

NAME = "2024-01/x.parquet"


def calls(storage: LakeStorage) -> dict[str, Callable[[], object]]:
    """All that asks the store, by the method of HTTP."""
    return {
        "PUT": lambda: storage.put(NAME, DATA),
        "GET": lambda: storage.get(NAME),
        "list": lambda: list(storage.list()),
        "POST": lambda: storage.delete([NAME]),
    }


@pytest.fixture
def prefix() -> str:
    return f"s3://{BUCKET}/faults/{uuid4()}"


@pytest.fixture
def proxy(object_store: ObjectStore) -> Iterator[S3Proxy]:
    with S3Proxy(object_store.port) as proxy:
        yield proxy


@pytest.fixture
def storage(object_store: ObjectStore, proxy: S3Proxy, prefix: str) -> LakeStorage:
    """Through the proxy."""
    return open_storage(prefix, object_store.environment(proxy.port))


@pytest.fixture
def direct(object_store: ObjectStore, prefix: str) -> LakeStorage:
    """What others see in the store."""
    return open_storage(prefix, object_store.environment())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up after a moment. Before the storage is opened."""
    monkeypatch.setattr(s3_storage, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(s3_storage, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(s3_storage, "RETRY_SECONDS", 0.15)
    monkeypatch.setattr(s3_storage, "SLOWEST_BYTES_PER_SECOND", 20_000_000)


ONCE: dict[str, tuple[Fault, ...]] = {
    "overloaded": (answered(503, "SlowDown"), answered(500, "InternalError"), answered(503)),
    "too many requests": (answered(429, "TooManyRequests"),),
    "torn": (s3_proxy.torn_upload, s3_proxy.torn_upload),
    "lost response": (s3_proxy.lost_response,),
    "late": (s3_proxy.late(0.3),),
    "in the way": (answered(409, "ConditionalRequestConflict"),),
    "one after the other": (
        answered(503, "SlowDown"),
        s3_proxy.torn_upload,
        s3_proxy.lost_response,
        s3_proxy.lost_response,
    ),
}


@pytest.mark.parametrize("faults", ONCE.values(), ids=ONCE)
def test_a_file_is_stored_once_whatever_happens_on_the_way(
    storage: LakeStorage, direct: LakeStorage, proxy: S3Proxy, faults: tuple[Fault, ...]
) -> None:
    proxy.plan("PUT", *faults)
    storage.put(NAME, DATA)
    assert [(file.path, file.size) for file in direct.list()] == [(NAME, len(DATA))]
    assert direct.get(NAME) == DATA
    passes_at_once = faults == ONCE["late"]
    assert proxy.requests.count("PUT") == len(faults) + (not passes_at_once)


def test_a_lost_response_is_no_licence_to_replace_a_file(
    storage: LakeStorage, direct: LakeStorage, proxy: S3Proxy
) -> None:
    direct.put(NAME, DATA[::-1])
    proxy.plan("PUT", s3_proxy.lost_response)
    with pytest.raises(StorageSetupError, match="it exists with other contents"):
        storage.put(NAME, DATA)
    assert direct.get(NAME) == DATA[::-1]


FOR_EVER: dict[str, tuple[Fault, bool]] = {
    "overloaded": (answered(503, "SlowDown"), False),
    "torn": (s3_proxy.torn_upload, False),
    "silent": (s3_proxy.silence, False),
    "lost response": (s3_proxy.lost_response, True),
}


@pytest.mark.parametrize(("fault", "is_there"), FOR_EVER.values(), ids=FOR_EVER)
@pytest.mark.usefixtures("impatient")
def test_a_store_that_stays_away_is_an_error_that_passes(
    storage: LakeStorage, direct: LakeStorage, proxy: S3Proxy, fault: Fault, is_there: bool
) -> None:
    """All requests meet the fault, of the question whether an earlier attempt succeeded too."""
    for method in ("PUT", "GET"):
        proxy.plan_always(method, fault)
    begun = time.monotonic()
    with pytest.raises(StorageUnavailableError, match=f"cannot store the file s3://.*{NAME}"):
        storage.put(NAME, DATA)
    assert time.monotonic() - begun < 10
    # The whole file or none of it. The next attempt with the same name does the rest.
    assert [file.size for file in direct.list()] == ([len(DATA)] if is_there else [])
    proxy.heal()
    storage.put(NAME, DATA)
    assert direct.get(NAME) == DATA


def test_a_torn_or_refused_download_is_read_again(
    storage: LakeStorage, direct: LakeStorage, proxy: S3Proxy
) -> None:
    direct.put(NAME, DATA)
    proxy.plan("GET", s3_proxy.torn_download, answered(503, "SlowDown"), s3_proxy.torn_download)
    assert storage.get(NAME) == DATA
    assert proxy.requests == ["GET"] * 4


def test_lists_and_deletions_are_tried_again(
    storage: LakeStorage, direct: LakeStorage, proxy: S3Proxy
) -> None:
    direct.put(NAME, DATA)
    proxy.plan("GET", answered(503, "SlowDown"), s3_proxy.torn_download, answered(500))
    assert [file.path for file in storage.list()] == [NAME]
    proxy.plan("POST", answered(503, "SlowDown"), s3_proxy.lost_response, s3_proxy.torn_upload)
    storage.delete([NAME])
    assert list(direct.list()) == []


@pytest.mark.usefixtures("impatient")
def test_a_large_file_is_not_sent_to_a_server_that_is_silent(
    storage: LakeStorage, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its upload may take minutes, and would be cut off only then."""
    monkeypatch.setattr(s3_storage, "SLOWEST_BYTES_PER_SECOND", len(DATA) / 4)
    for method in ("HEAD", "PUT"):
        proxy.plan_always(method, s3_proxy.silence)
    begun = time.monotonic()
    with pytest.raises(StorageUnavailableError, match="no response in time"):
        storage.put(NAME, DATA)
    assert time.monotonic() - begun < 10
    assert "PUT" not in proxy.requests


@pytest.mark.usefixtures("impatient")
def test_a_large_upload_may_take_longer_than_an_answer(
    storage: LakeStorage, direct: LakeStorage, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_storage, "SLOWEST_BYTES_PER_SECOND", len(DATA) / 10)
    proxy.plan("PUT", s3_proxy.late(0.8))
    storage.put(NAME, DATA)
    assert proxy.requests.count("PUT") == 1
    assert direct.get(NAME) == DATA


def test_the_time_of_an_upload_grows_with_its_size() -> None:
    sizes = [0, 1_000_000, 50_000_000, 200_000_000]
    assert [s3_storage._seconds_for(size) for size in sizes] == [15, 15, 120, 480]
    for size in sizes:
        slow = size / s3_storage.SLOWEST_BYTES_PER_SECOND
        assert slow <= s3_storage._seconds_for(size) <= max(2 * slow, s3_storage.ANSWER_SECONDS)


@pytest.mark.usefixtures("impatient")
def test_a_closed_port_is_an_error_that_passes() -> None:
    with socket.socket() as taken:  # nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_ENDPOINT_URL": url}
        storage = open_storage("s3://lake/a", keys)
        for call in calls(storage).values():
            with pytest.raises(StorageUnavailableError, match="Connection refused"):
                call()


def test_wrong_keys_and_a_missing_bucket_are_errors_of_the_setup(
    object_store: ObjectStore, prefix: str
) -> None:
    denied: list[tuple[str, dict[str, str], type[RevalueError], str]] = [
        (prefix, {"AWS_SECRET_ACCESS_KEY": "no"}, StorageAccessError, "SignatureDoesNotMatch"),
        (prefix, {"AWS_ACCESS_KEY_ID": "no"}, StorageAccessError, "InvalidAccessKeyId"),
        ("s3://none/a", {}, StorageSetupError, "NoSuchBucket.*Create the bucket"),
    ]
    for address, changed, kind, match in denied:
        storage = open_storage(address, object_store.environment(**changed))
        for call in calls(storage).values():
            with pytest.raises(StorageSetupError, match=match) as told:
                call()
            assert type(told.value) is kind
            assert object_store.secret_key not in str(told.value)


ANSWERS: dict[tuple[int, str], type[RevalueError]] = {
    (400, "RequestTimeout"): StorageUnavailableError,
    (408, ""): StorageUnavailableError,
    (409, "OperationAborted"): StorageUnavailableError,
    (429, ""): StorageUnavailableError,
    (500, "InternalError"): StorageUnavailableError,
    (502, ""): StorageUnavailableError,
    (503, "SlowDown"): StorageUnavailableError,
    (504, ""): StorageUnavailableError,
    (400, "ExpiredToken"): StorageAccessError,
    (401, ""): StorageAccessError,
    (403, "AccessDenied"): StorageAccessError,
    (403, "RequestTimeTooSkewed"): StorageAccessError,
    (301, ""): StorageSetupError,
    (400, "AuthorizationHeaderMalformed"): StorageSetupError,
    (404, "NoSuchBucket"): StorageSetupError,
    (404, ""): StorageSetupError,  # of a server that is no store
    (405, ""): StorageSetupError,
    (501, "NotImplemented"): StorageSetupError,
    (507, "XMinioStorageFull"): StorageSetupError,
}


@pytest.mark.parametrize("method", ["PUT", "GET", "list", "POST"])
def test_an_answer_is_of_the_store_or_of_the_setup(
    storage: LakeStorage, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(s3_storage, "RETRY_SECONDS", 0)
    found = {}
    for status, code in ANSWERS:
        if method == "list" and (status >= 500 or status in (408, 429)):
            continue  # tried again by the client, for seconds
        proxy.plan_always("GET" if method == "list" else method, answered(status, code))
        with pytest.raises(RevalueError) as told:
            calls(storage)[method]()
        found[status, code] = type(told.value)
        proxy.heal()
    assert found == {answer: ANSWERS[answer] for answer in found}


@pytest.mark.parametrize(
    ("details", "kind", "match"),
    [
        ('error: "failed to lookup address information: Name or service not known"',
         StorageSetupError, r"\(failed to lookup .*\)\. Check AWS_ENDPOINT_URL"),
        ('error: "failed to lookup address information: Temporary failure in name resolution"',
         StorageUnavailableError, "Temporary failure"),
        ("InvalidCertificate(UnknownIssuer)", StorageSetupError, "Check AWS_ENDPOINT_URL"),
        ("InvalidMessage(InvalidContentType)", StorageSetupError, "Check AWS_ENDPOINT_URL"),
        ("http://host/latest/api/token", StorageSetupError, "No credentials were found"),
        ('message: "Connection reset by peer"', StorageUnavailableError, "reset by peer"),
    ],
)  # fmt: skip
def test_what_the_client_meets_before_an_answer(
    details: str, kind: type[RevalueError], match: str
) -> None:
    text = f"Generic S3 error: HTTP error: error sending request\n\nDebug source:\n{details}"
    error = error_of_s3(OSError(text), "store the file s3://lake/x")
    assert type(error) is kind
    assert re.search(match, str(error))
    assert "\n" not in str(error)


def test_a_refused_deletion_in_an_answer_that_is_well() -> None:
    """S3 deletes many files by one request, and says of each what became of it."""
    text = "DeleteObjects request failed for key a/x: {} (code: {})\n\nDebug source:\n"
    for code, kind in (("AccessDenied", StorageAccessError), ("SlowDown", StorageUnavailableError)):
        error = error_of_s3(OSError(text.format("said", code)), "delete 1 files")
        assert type(error) is kind


def test_a_missing_file_is_not_missing_because_a_server_is_no_store(
    storage: LakeStorage, proxy: S3Proxy
) -> None:
    with pytest.raises(StorageFileMissingError):
        storage.get(NAME)
    proxy.plan("GET", answered(404))
    with pytest.raises(StorageSetupError, match="no S3 store answers in this way"):
        storage.get(NAME)
