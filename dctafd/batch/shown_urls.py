"""URLs as they may be shown: no record, message or manifest holds what opens a door."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, unquote, urlsplit

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*"
_URL = re.compile(rf"{_SCHEME}(::{_SCHEME})*://")  # "::" as fsspec chains them
_URL_IN_TEXT = re.compile(rf"{_SCHEME}://[^\s'\"<>]+")
_IDENTIFYING = "download file filename format id index name page path raw version versionid"
_PLAIN_PARAMETERS = frozenset(_IDENTIFYING.split(" "))
_SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSW|CREDENTIAL|SIGNATURE|(ACCESS|API|ACCOUNT)_?KEY", re.I)
_LEAST_SECRET = 6  # characters; shorter values stand in too many harmless words


def is_url(name: str) -> bool:
    """Return whether a name begins like a URL ("s3://...") and is no path."""
    return _URL.match(name) is not None


def shown(url: str) -> str:
    """Return a URL without user, password, signature and fragment; anything else as it is.

    Of a query only parameters stay whose names say which file is meant (id, file, versionId ...); of the
    others, a signature's among them, the value is replaced by "...".
    """
    if not is_url(url):
        return url
    scheme, rest = url.split("://", 1)
    if scheme not in ("http", "https"):  # a "?" or "#" in an object's name is no query
        bucket, slash, name = rest.partition("/")
        return f"{scheme}://{bucket.rpartition('@')[2]}{slash}{name}"
    try:
        parts = urlsplit(url)
        fields = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:  # brackets that are no IPv6 address, too many fields
        return re.sub(r"//[^/?#]*@", "//", url.split("?")[0].split("#")[0])
    place = parts.netloc.rpartition("@")[2]
    query = "&".join(f"{name}={value if _is_plain(name) else '...'}" for name, value in fields)
    return f"{parts.scheme}://{place}{parts.path}{'?' + query if query else ''}"


def file_name(location: str) -> str:
    """Return the last part of a path or URL, without a query: by it archives are known."""
    if is_url(location) and location.lower().startswith(("http://", "https://")):
        location = unquote(location.split("?")[0].split("#")[0])
    return location.rpartition("/")[2] or location


def scrubbed(text: str) -> str:
    """Return a message of some library without secrets: those in URLs, and those in the environment."""
    text = _URL_IN_TEXT.sub(lambda match: shown(match.group()), text)
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _LEAST_SECRET:
            text = text.replace(value, "...")
    return text


def _is_plain(name: str) -> bool:
    return name.lower() in _PLAIN_PARAMETERS
