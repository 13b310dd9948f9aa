"""The files of the lake in a folder and in a real object store: both keep the same promises."""

import io
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest

from revalue.engine.errors import StorageFileMissingError, StorageSetupError, UsageError
from revalue.engine.lake.storage import LakeStorage, open_storage
from tests.seaweed import BUCKET, ObjectStore

DATA = bytes(range(256)) * 400


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> LakeStorage:
    if request.param == "folder":
        return open_storage(str(tmp_path / "a" / "lake"), creates=True)
    store: ObjectStore = request.getfixturevalue("object_store")
    return open_storage(f"s3://{BUCKET}/tests/{uuid4()}", store.environment())


def paths(storage: LakeStorage, prefix: str = "") -> list[str]:
    return sorted(file.path for file in storage.list(prefix))


def test_a_file_is_read_as_it_was_stored_and_is_listed(storage: LakeStorage) -> None:
    assert paths(storage) == []
    begun = datetime.now(UTC).replace(microsecond=0)
    storage.put("x.parquet", DATA)
    storage.put("month=2024-01/one of many.parquet", b"")
    assert storage.get("x.parquet") == DATA
    assert storage.get("month=2024-01/one of many.parquet") == b""
    files = {file.path: file for file in storage.list()}
    assert {path: file.size for path, file in files.items()} == {
        "x.parquet": len(DATA),
        "month=2024-01/one of many.parquet": 0,
    }
    for file in files.values():
        assert file.modified.tzinfo is UTC or file.modified.utcoffset() == timedelta(0)
        assert begun <= file.modified <= datetime.now(UTC) + timedelta(seconds=1)


def test_a_file_that_points_to_others_is_replaced(storage: LakeStorage) -> None:
    for data in (b"1", DATA, b"", b"2"):
        storage.replace("a/newest", data)
        assert storage.get("a/newest") == data
    assert paths(storage) == ["a/newest"]
    with pytest.raises(StorageSetupError, match="other contents"):
        storage.put("a/newest", b"3")


def test_a_prefix_is_a_folder(storage: LakeStorage) -> None:
    for path in ("a/b/1.parquet", "a/bc/2.parquet", "a/b.parquet", "d.parquet"):
        storage.put(path, DATA)
    assert paths(storage, "a") == ["a/b.parquet", "a/b/1.parquet", "a/bc/2.parquet"]
    assert paths(storage, "a/b") == paths(storage, "a/b/") == ["a/b/1.parquet"]
    assert paths(storage, "none") == []


def test_polars_reads_a_file_by_its_source(storage: LakeStorage) -> None:
    rows = pl.DataFrame({"position_id": [1, 2, 3]})
    storage.put("2024-01/rows[1].parquet", parquet(rows))
    scanned = pl.scan_parquet(
        storage.source("2024-01/rows[1].parquet"),
        glob=False,
        storage_options=storage.storage_options,
    )
    assert scanned.filter(pl.col("position_id") > 1).collect()["position_id"].to_list() == [2, 3]


def parquet(rows: pl.DataFrame) -> bytes:
    written = io.BytesIO()
    rows.write_parquet(written)
    return written.getvalue()


def test_a_file_is_never_replaced(storage: LakeStorage) -> None:
    storage.put("x.parquet", DATA)
    for other in (DATA[:-1], DATA[::-1]):
        with pytest.raises(StorageSetupError, match=r"x\.parquet: it exists with other contents"):
            storage.put("x.parquet", other)
    assert storage.get("x.parquet") == DATA
    storage.put("x.parquet", DATA)  # by somebody who has not heard that it was stored
    assert paths(storage) == ["x.parquet"]


def test_of_many_writers_of_one_name_one_wins(storage: LakeStorage) -> None:
    def put(number: int) -> bool:
        try:
            storage.put("x.parquet", DATA + bytes([number]))
        except StorageSetupError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(8)))
    assert won.count(True) == 1
    assert storage.get("x.parquet") == DATA + bytes([won.index(True)])


def test_a_missing_file_is_told_by_its_name(storage: LakeStorage) -> None:
    storage.put("a/x.parquet", DATA)
    for missing in ("a/y.parquet", "b/x.parquet"):
        with pytest.raises(
            StorageFileMissingError, match=f"cannot read the file .*{re.escape(missing)}"
        ):
            storage.get(missing)


def test_files_are_deleted_and_missing_ones_are_no_error(storage: LakeStorage) -> None:
    for path in ("a/1.parquet", "a/2.parquet", "b/3.parquet"):
        storage.put(path, DATA)
    storage.delete(["a/1.parquet", "a/9.parquet", "b/3.parquet", "c/3.parquet"])
    storage.delete([])
    assert paths(storage) == ["a/2.parquet"]
    storage.put("a/1.parquet", DATA)
    assert storage.get("a/1.parquet") == DATA


def test_more_files_than_one_request_lists_or_deletes(storage: LakeStorage) -> None:
    names = [f"{number % 7}/{number}.parquet" for number in range(1010)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: storage.put(name, b"PAR1"), names))
    assert paths(storage) == sorted(names)
    storage.delete(names)
    assert paths(storage) == []


@pytest.mark.parametrize(
    "path", ["", "/x", "../x", "a/../x", "a//x", "a/", ".incoming/x", "a/.x", "a\n", "./x"]
)
def test_a_path_stays_below_the_address(storage: LakeStorage, path: str) -> None:
    for call in (lambda: storage.put(path, DATA), lambda: storage.get(path),
                 lambda: storage.source(path), lambda: storage.delete([path])):  # fmt: skip
        with pytest.raises(UsageError, match="is not the path of a file in the lake"):
            call()
    assert paths(storage) == []


@pytest.mark.parametrize(
    "address",
    ["", "file:///lake", "gs://bucket/lake", "az://c/lake", "https://bucket.s3.amazonaws.com/lake",
     "s3:bucket/lake", "s3:/bucket/lake", "s3://", "s3:///lake", "s3://a b/lake", "S3://b/lake",
     "lake", "./lake", "s3://bucket/a//b", "s3://bucket/../x"],
)  # fmt: skip
def test_an_address_is_a_folder_or_a_bucket(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as told:
        open_storage(address, {})
    assert re.search(
        "give the absolute path of a folder, or s3://BUCKET|relative path: write '/|not the path",
        str(told.value),
    )


@pytest.mark.parametrize(
    ("variables", "match"),
    [
        ({"AWS_ENDPOINT_URL": "127.0.0.1:8333"}, "AWS_ENDPOINT_URL='127.0.0.1:8333' is not an add"),
        ({"AWS_ENDPOINT_URL_S3": "ftp://host"}, "write https://HOST or http://HOST:PORT"),
        ({"AWS_ACCESS_KEY_ID": "x"}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither"),
        ({"AWS_SECRET_ACCESS_KEY": "x"}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither"),
    ],
)
def test_a_wrong_variable_is_named(variables: dict[str, str], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        open_storage("s3://bucket/lake", variables)


def test_the_usual_variables_reach_polars_and_no_secret_is_shown() -> None:
    storage = open_storage(
        "s3://bucket/a/b/",
        {
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "top secret",
            "AWS_SESSION_TOKEN": "token",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": "https://all.example",
            "AWS_ENDPOINT_URL_S3": "http://s3.example:9000",
        },
    )
    assert storage.source("c/x.parquet") == "s3://bucket/a/b/c/x.parquet"
    assert storage.storage_options == {
        "aws_access_key_id": "id",
        "aws_secret_access_key": "top secret",
        "aws_session_token": "token",
        "aws_region": "eu-central-1",
        "aws_endpoint_url": "http://s3.example:9000",
        "aws_allow_http": "true",
    }
    assert "secret" not in repr(vars(storage))
    bare = open_storage("s3://bucket", {})
    assert bare.source("x.parquet") == "s3://bucket/x.parquet"
    assert bare.storage_options == {"aws_region": "us-east-1"}


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(UsageError, match=r"pip install 'revalue\[lake\]'"):
        open_storage("s3://bucket/lake", {})


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("HOME", str(tmp_path))
    yield tmp_path
    assert not any(os.scandir(tmp_path / "lake"))


def test_the_home_folder_may_be_written_as_a_tilde(home: Path) -> None:
    assert open_storage("~/lake", creates=True).source("x") == str(home / "lake" / "x")
