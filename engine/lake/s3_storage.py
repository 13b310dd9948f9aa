"""The lake in a bucket of S3, or of a store with the same interface."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import urlsplit

from revalue.engine.errors import (
    StorageFileMissingError,
    StorageSetupError,
    StorageUnavailableError,
    UsageError,
)
from revalue.engine.lake.storage import LakeFile, require_path
from revalue.engine.lake.storage_errors import error_of_s3, is_missing_file

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Store

T = TypeVar("T")

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
"""Longest time without an answer to a small request, or without a part of a large answer."""
LONGEST_DOWNLOAD_SECONDS = 900.0
RETRY_SECONDS = 20.0
"""No attempt begins later than this after the first one."""
SLOWEST_BYTES_PER_SECOND = 500_000
"""A slower upload is cut off: a server that has stopped reading looks the same."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0
_PAGE = 1000


@dataclass(frozen=True)
class S3Options:
    """How to reach a store, and who asks. What is None is looked up by the client itself."""

    region: str = "us-east-1"
    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "S3Options":
        """Return the options that the AWS_ variables give.

        Raises:
            UsageError: one of them is wrong, or its pair is missing.
        """

        def first(*names: str) -> str | None:
            return next((environment[name] for name in names if environment.get(name)), None)

        endpoint = first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
        if endpoint is not None:
            parts = urlsplit(endpoint)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise UsageError(
                    f"AWS_ENDPOINT_URL={endpoint!r} is not an address of a store: write "
                    "https://HOST or http://HOST:PORT"
                )
        key, secret = first("AWS_ACCESS_KEY_ID"), first("AWS_SECRET_ACCESS_KEY")
        if (key is None) != (secret is None):
            raise UsageError("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither of them")
        return cls(
            region=first("AWS_REGION", "AWS_DEFAULT_REGION") or cls.region,
            endpoint=endpoint,
            access_key_id=key,
            secret_access_key=secret,
            session_token=first("AWS_SESSION_TOKEN"),
        )

    @property
    def given(self) -> dict[str, str]:
        """The options that are given, by the names that obstore and polars share."""
        values = {
            "aws_region": self.region,
            "aws_endpoint_url": self.endpoint,
            "aws_access_key_id": self.access_key_id,
            "aws_secret_access_key": self.secret_access_key,
            "aws_session_token": self.session_token,
        }
        return {name: value for name, value in values.items() if value is not None}

    @property
    def is_plain_http(self) -> bool:
        """Whether the store is reached without TLS."""
        return self.endpoint is not None and self.endpoint.startswith("http://")


class S3Storage:
    """A `LakeStorage` in a bucket.

    A file is one PUT, whose signature covers its contents: the store takes all of it or nothing.
    `If-None-Match: *` makes it fail if a file has the name.
    """

    def __init__(self, bucket: str, prefix: str, options: S3Options) -> None:
        """Refer to the files below a prefix of a bucket.

        Raises:
            UsageError: the package obstore is not installed.
        """
        self._bucket, self._prefix, self._options = bucket, prefix, options
        self._address = f"s3://{bucket}/{prefix}".rstrip("/")
        # A client keeps its connections, and has one time limit for all its requests.
        self._reader = self._client(read_timeout=ANSWER_SECONDS, timeout=LONGEST_DOWNLOAD_SECONDS)
        # A long list is many requests: when one fails, it alone is made again.
        self._lister = self._client(retries=5, read_timeout=ANSWER_SECONDS, timeout=ANSWER_SECONDS)
        self._writers: dict[float, S3Store] = {}

    @property
    def storage_options(self) -> dict[str, str] | None:
        """Return what `polars.scan_parquet` needs beside the URL."""
        http = {"aws_allow_http": "true"} if self._options.is_plain_http else {}
        return {**self._options.given, **http}

    def source(self, path: str) -> str:
        """Return the s3:// URL of a file."""
        return f"{self._address}/{require_path(path)}"

    def put(self, path: str, data: bytes) -> None:
        """Store a new file, as `LakeStorage.put`."""
        from obstore.exceptions import AlreadyExistsError

        url, seconds = self.source(path), _seconds_for(len(data))

        def attempt() -> None:
            if seconds > ANSWER_SECONDS:
                # A server that is gone is noticed by a small question, and not by an upload that
                # may take minutes.
                self._exists(path)
            try:
                self._writer(seconds).put(path, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                self._require_same(path, data)

        self._until_done(f"store the file {url}", attempt)

    def replace(self, path: str, data: bytes) -> None:
        """Store a file in place of another, as `LakeStorage.replace`."""
        url, writer = self.source(path), self._writer(_seconds_for(len(data)))
        self._until_done(
            f"store the file {url}",
            lambda: writer.put(path, data, mode="overwrite", use_multipart=False),
        )

    def get(self, path: str) -> bytes:
        """Return the contents of a file, as `LakeStorage.get`."""
        url = self.source(path)

        def attempt() -> bytes:
            try:
                return self._read(path)
            except FileNotFoundError as error:
                if is_missing_file(error):
                    raise StorageFileMissingError(
                        f"cannot read the file {url}: it does not exist"
                    ) from None
                raise

        return self._until_done(f"read the file {url}", attempt)

    def list(self, prefix: str = "") -> Iterator[LakeFile]:
        """List all files, as `LakeStorage.list`."""
        below = require_path(prefix.rstrip("/")) if prefix else None

        def attempt() -> list[LakeFile]:
            pages = self._lister.list(below, chunk_size=_PAGE)
            return [
                LakeFile(file["path"], file["size"], file["last_modified"])
                for page in pages
                for file in page
            ]

        yield from self._until_done(f"list the files of {self._address}", attempt)

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files, as `LakeStorage.delete`."""
        for path in paths:
            require_path(path)
        if paths:
            self._until_done(
                f"delete {len(paths)} files of {self._address}",
                lambda: self._reader.delete(list(paths)),
            )

    def _read(self, path: str) -> bytes:
        return self._reader.get(path).bytes().to_bytes()

    def _exists(self, path: str) -> bool:
        try:
            self._reader.head(path)
        except FileNotFoundError:
            return False
        return True

    def _require_same(self, path: str, data: bytes) -> None:
        """Return if the file of that name has these contents: an earlier attempt has stored it."""
        try:
            stored = self._read(path)
        except FileNotFoundError:  # what S3 says to one of two writers at the same moment
            raise StorageUnavailableError(
                f"cannot store the file {self.source(path)}: another one of that name is being "
                "written"
            ) from None
        if stored != data:
            raise StorageSetupError(
                f"cannot store the file {self.source(path)}: it exists with other contents. Names "
                "of files contain a uuid, so somebody has put it there"
            )

    def _until_done(self, doing: str, attempt: Callable[[], T]) -> T:
        """Return the result of an attempt, which is made again as long as it may help."""
        from obstore.exceptions import BaseError

        begun, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
        while True:
            try:
                try:
                    return attempt()
                except (BaseError, OSError) as error:
                    raise error_of_s3(error, doing) from error
            except StorageUnavailableError:
                if time.monotonic() + pause > begun + RETRY_SECONDS:
                    raise
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _writer(self, seconds: float) -> "S3Store":
        """Return the client whose uploads may take so long."""
        if seconds not in self._writers:
            self._writers[seconds] = self._client(timeout=seconds)
        return self._writers[seconds]

    def _client(self, *, retries: int = 0, **seconds: float) -> "S3Store":
        try:
            from obstore.store import S3Store
        except ModuleNotFoundError as error:
            raise UsageError(
                f"{self._address} needs the package 'obstore', which is not installed: "
                "pip install 'revalue[lake]'"
            ) from error
        limits = {"connect_timeout": CONNECT_SECONDS, **seconds}
        return S3Store(
            self._bucket,
            prefix=self._prefix or None,
            config=cast("S3Config", {**self._options.given, "aws_conditional_put": "etag"}),
            client_options=cast(
                "ClientConfig",
                {
                    **{name: timedelta(seconds=each) for name, each in limits.items()},
                    "allow_http": self._options.is_plain_http,
                },
            ),
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=CONNECT_SECONDS),
                "backoff": {
                    "init_backoff": timedelta(seconds=_FIRST_PAUSE_SECONDS),
                    "max_backoff": timedelta(seconds=_LONGEST_PAUSE_SECONDS),
                    "base": 2,
                },
            },
        )


def _seconds_for(size: int) -> float:
    """Return how long an upload may take: that of an answer, doubled until a slow line does it."""
    seconds = ANSWER_SECONDS
    while seconds * SLOWEST_BYTES_PER_SECOND < size:
        seconds *= 2
    return seconds
