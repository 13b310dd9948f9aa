"""Decide what an error of the lake's storage means for the engine, for folders and for S3.

* **transient**: the network, or a server that is overloaded or restarts. What waits for the file
  tries again (StorageUnavailableError).
* **of the environment**: a bucket, a right, space or the address. It would be the same for every
  file, so it stops what is running (StorageSetupError, StorageAccessError).
"""

import errno
import re

from revalue.engine.errors import (
    RevalueError,
    StorageAccessError,
    StorageSetupError,
    StorageUnavailableError,
)

_PASSING = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EINTR,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    # A file system of the network that is out of reach.
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOTCONN,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
_DENIED = {errno.EACCES, errno.EPERM}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_STATUS = re.compile(r"status(?: code)?: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>|\(code: (\w+)\)")
_CAUSE = re.compile(r'(?:message|error): "([^"]+)"')
# Of a connection that broke off the client tells the cause by these names only.
_BROKEN = {
    "IncompleteMessage": "the connection broke before the response",
    "IncompleteBody": "the connection broke in the middle of the response",
    "TimedOut": "no response in time",
}
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
# Codes of S3 under the status of a wrong request, though the same request may pass later.
_PASSING_CODES = {
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
_DENIED_CODES = {
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_PASSING_STATUS = {"408", "425", "429"}
_PERMANENT_STATUS = {"501", "505", "507"}
# What a client says that never reaches a server, however often it tries.
_WRONG_ADDRESS = (
    "Name or service not known",
    "No address associated with hostname",
    "nodename nor servname provided",
    "builder error",
    "InvalidCertificate",
    "InvalidContentType",  # TLS is spoken to a port that does not speak it
)
_REGION = "incorrectly configured region"
_NO_CREDENTIALS = "/latest/api/token"  # the machine's role is asked for, as there are no keys


def error_of_folder(error: OSError, doing: str) -> RevalueError:
    """Return the engine's error for an error of the file system.

    Args:
        doing: what failed, for example "store the file /lake/x".
    """
    said = f"cannot {doing}: {error.strerror or error}"
    if error.errno in _PASSING:
        return StorageUnavailableError(f"{said}. Look at the file system if this lasts")
    if error.errno in _DENIED:
        return StorageAccessError(f"{said}. Let the user of the engine read and write the folder")
    if error.errno in _FULL:
        return StorageSetupError(f"{said}. Make space, or raise the limit of this user")
    if error.errno == errno.EROFS:
        return StorageSetupError(f"{said}. Mount the file system for writing")
    return StorageSetupError(f"{said}. Check the folder")


def error_of_s3(error: Exception, doing: str) -> RevalueError:
    """Return the engine's error for an error of the S3 client.

    Args:
        error: what `obstore` raises. Of some it tells the kind only in its text.
        doing: what failed, for example "store the file s3://lake/x".
    """
    text = str(error)
    found = _STATUS.search(text)
    status = found[1] if found else None
    codes = _CODE.search(text)
    code = (codes[1] or codes[2]) if codes else None
    said = f"cannot {doing}: {_in_one_line(text, code)}"
    if code in _PASSING_CODES or status in _PASSING_STATUS:
        return StorageUnavailableError(f"{said}. Look at the store and the network if this lasts")
    if code in _DENIED_CODES or status in ("401", "403"):
        return StorageAccessError(
            f"{said}. Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, the "
            "rights to the bucket, and this machine's clock"
        )
    if code == "NoSuchBucket":
        return StorageSetupError(f"{said}. Create the bucket, or correct the address")
    if _REGION in text or code in ("AuthorizationHeaderMalformed", "PermanentRedirect"):
        return StorageSetupError(f"{said}. Set AWS_REGION to the bucket's region")
    if status == "501":
        return StorageSetupError(
            f"{said}. The store must know conditional writes (PUT with If-None-Match)"
        )
    if status == "507":
        return StorageSetupError(f"{said}. Make space in the store")
    if status is not None and (not status.startswith("5") or status in _PERMANENT_STATUS):
        return StorageSetupError(
            f"{said}. Check AWS_ENDPOINT_URL and the address: no S3 store answers in this way"
        )
    if any(each in text for each in _WRONG_ADDRESS):
        return StorageSetupError(f"{said}. Check AWS_ENDPOINT_URL")
    if _NO_CREDENTIALS in text:
        return StorageSetupError(
            f"{said}. No credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or run where the machine has a role"
        )
    return StorageUnavailableError(f"{said}. Look at the store and the network if this lasts")


def is_missing_file(error: FileNotFoundError) -> bool:
    """Return whether a store says that it has no such file, and not a server that is no store."""
    found = _CODE.search(str(error))
    return found is not None and found[1] == "NoSuchKey"


def _in_one_line(text: str, code: str | None) -> str:
    """Return in one line the client's message, with that of the server or the network."""
    line, _, details = text.partition("\n\nDebug source:")
    line = line.partition("<")[0].partition("\n")[0].strip(" :-")
    if code is not None:
        message = _MESSAGE.search(text)
        return f"{line} ({code}{f': {message[1]}' if message else ''})"
    causes = _CAUSE.findall(details) or [each for each in _BROKEN if each in details]
    return f"{line} ({_BROKEN.get(causes[-1], causes[-1])})" if causes else line
