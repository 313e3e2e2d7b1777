"""Moto's S3 server on the loopback interface, and what forgets its connections."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

KEY_ID = "AKIAEXAMPLE"
SECRET_KEY = "5ecretsignature"


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Serve while the block runs; yields the environment by which clients find it."""
    pytest.importorskip("s3fs", reason="needs the extra remote")
    moto = pytest.importorskip("moto.server", reason="needs moto's server (the extra dev)")
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # not a line for each request
    server.start()
    host, port = server.get_host_and_port()
    # Moto keeps its buckets for the whole process: those of tests before are not this server's.
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.stop()


def made_bucket(name: str) -> Any:
    """Make a bucket of the server that the environment names; return fsspec's file system."""
    import fsspec

    forget_stores()
    system = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    system.mkdir(name)
    return system


def forget_stores() -> None:
    """Forget the file systems of earlier servers, which fsspec keeps, too."""
    import s3fs

    from dctafd.batch import stores

    stores.known_file_system.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()
