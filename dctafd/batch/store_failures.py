"""What goes wrong with URLs: tried again where it may pass, else told in words of our own.

What passes (a broken connection, a busy server) is tried again with growing pauses. What does not (not there,
no access, changed meanwhile) is an OSError of the usual kind. Messages are made here, not by the libraries,
whose messages hold whole URLs.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

from dctafd.batch.shown_urls import scrubbed, shown
from dctafd.errors import MissingExtraError

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before each further attempt, each up to half as long again."""
_PASSING_STATUS = frozenset((408, 425, 429, 500, 502, 503, 504, 509))
_PASSING_CODES = frozenset(
    ("SlowDown", "Throttling", "RequestTimeout", "InternalError", "ServiceUnavailable")
)

_Value = TypeVar("_Value")


def again(url: str, attempt: Callable[[], _Value], clean_up: Callable[[], None] = lambda: None) -> _Value:
    """Return what `attempt` returns, trying again after failures that may pass.

    Args:
        url: what it is about, for messages.
        attempt: may be called several times.
        clean_up: called after each failure.

    Raises:
        OSError: it does not pass, or has not passed after all `PAUSES` (a ConnectionError).
        MissingExtraError: fsspec, or what it needs for this kind of URL, is not installed.
    """
    for pause in (*PAUSES, None):
        try:
            return attempt()
        except MissingExtraError:
            raise
        except ImportError as error:
            raise missing_extra(error, "fsspec") from None
        except Exception as error:
            clean_up()
            failure = told(error, url)
            if pause is None or not isinstance(failure, ConnectionError):
                raise failure from None
        time.sleep(pause * random.uniform(1, 1.5))
    raise AssertionError("the last attempt returns or raises")


def told(error: Exception, url: str) -> OSError:
    """Return an error that says what is wrong with a URL; a ConnectionError where it may pass."""
    place = shown(url)
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and len(chain) < 10:
        chain.append(cause)
    for link in chain:
        status, code = _status(link)
        if status in (401, 403) or isinstance(link, PermissionError) or "Credential" in type(link).__name__:
            return PermissionError(errno.EACCES, "no access, or no credentials for it", place)
        if status in _PASSING_STATUS or code in _PASSING_CODES:
            return ConnectionError(errno.ECONNABORTED, f"the server is busy ({status or code})", place)
        if status in (404, 410):
            return FileNotFoundError(errno.ENOENT, "there is no such file", place)
        if status == 412 or code == "PreconditionFailed":
            return OSError(errno.ESTALE, "it has changed while it was read", place)
        if status is not None and status >= 400:
            return OSError(errno.EIO, f"the server answered {status}", place)
    if any(isinstance(link, OSError) and link.errno == errno.ESTALE for link in chain):
        return OSError(errno.ESTALE, "it has changed while it was read", place)
    if any(_may_pass(link) for link in chain):
        return ConnectionError(
            errno.ECONNABORTED, f"the connection failed ({type(chain[-1]).__name__})", place
        )
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "there is no such file", place)
    if isinstance(error, OSError) and error.filename == place:
        return error
    return OSError(errno.EIO, f"{type(error).__name__}: {scrubbed(str(error))[:200]}", place)


def _status(error: BaseException) -> tuple[int | None, str | None]:
    """Return the HTTP status and the store's own word in an error of aiohttp or botocore."""
    status = getattr(error, "status", None)
    response = getattr(error, "response", None)
    code = None
    if isinstance(response, dict):  # botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", status)
        code = response.get("Error", {}).get("Code")
    return (status if isinstance(status, int) and status >= 400 else None), code


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    library = type(error).__module__.split(".")[0]
    name = type(error).__name__
    if library in ("aiohttp", "fsspec"):
        return name != "InvalidURL" and ("Client" in name or "Server" in name or "Timeout" in name)
    return library == "botocore" and ("Connection" in name or "Timeout" in name or "IncompleteRead" in name)


def missing_extra(error: ImportError, otherwise: str) -> MissingExtraError:
    """Return the error that says what to install where `error` hindered an import."""
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    return MissingExtraError(cause.name or otherwise, "remote")
