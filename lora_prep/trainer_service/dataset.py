"""The data set of a task: fetched from its URL, then counted. Nothing of it is kept.

Both ends are hostile ground: the URL is a stranger's server and the zip a stranger's file. Every
size has a limit that is held while reading, whatever the headers declare.
"""

from __future__ import annotations

import io
import tempfile
import time
import zipfile
from pathlib import Path
from typing import IO, Final

import httpx
from PIL import Image

from lora_prep.addresses import is_loopback
from lora_prep.trainer_service.protocol import MIN_IMAGES, TaskCode, TaskError

__all__ = ["count_images", "fetch", "require_enough_images"]

MAX_ZIP_BYTES: Final = 2 * 1024**3  # 1000 camera originals; our own bundles are under 20 MB
MAX_UNPACKED_BYTES: Final = 2 * 1024**3
MAX_ENTRY_BYTES: Final = 200 * 1024**2
MAX_ENTRIES: Final = 1000
MAX_READ_BYTES: Final = 4 * 1024**2  # a directory of 1000 entries with 4 kB names
MAX_PIXELS: Final = 89_478_485  # where Pillow itself begins to suspect a bomb
FORMATS: Final = ("JPEG", "PNG", "WEBP")  # others start programs (EPS) or rarely tested decoders
PACKINGS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks others without limit
CHUNK_BYTES: Final = 1024**2
TIMEOUTS: Final = httpx.Timeout(30.0, connect=10.0)
FETCH_LIMIT_S: Final = 900.0  # a server that drips holds a worker no longer than this
MAX_REDIRECTS: Final = 5
RETRY_WAITS_S: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
"""After a connection that failed: a store that is just being restarted is not gone."""


def fetch(url: str, folder: Path) -> IO[bytes]:
    """Download a data set and return it as an open file without a name, at its start.

    The file has no name from the beginning (`O_TMPFILE`, or unlinked when just made), so the
    photos are gone with the process, even one that is killed.

    Raises:
        TaskError: 1402, the URL does not give a whole file; 1401, it gives more than 2 GiB.
    """
    server = httpx.URL(url).netloc.decode("ascii")  # host and port; the rest of a URL is secret
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
    try:
        _download_patiently(url, server, file)
    except BaseException as error:
        file.close()
        if isinstance(error, (httpx.HTTPError, httpx.InvalidURL)):
            # The class only: the texts of httpx may quote the URL, also a redirect's.
            reason = f"The data URL at {server} could not be fetched ({type(error).__name__})."
            raise TaskError(TaskCode.DATA_NOT_FETCHED, reason) from error
        raise
    file.seek(0)
    return file


def _download_patiently(url: str, server: str, file: IO[bytes]) -> None:
    for wait_s in RETRY_WAITS_S:
        try:
            return _download(url, server, file)
        except httpx.NetworkError:
            time.sleep(wait_s)
            file.seek(0)
            file.truncate()
    return _download(url, server, file)


def _download(url: str, server: str, file: IO[bytes]) -> None:
    deadline = time.monotonic() + FETCH_LIMIT_S
    size = 0
    # Raw bytes and no content coding: a few gzip bytes could unpack into gigabytes.
    headers = {"Accept-Encoding": "identity"}
    with _client(url, server) as client, client.stream("GET", url, headers=headers) as response:
        if response.status_code != httpx.codes.OK:
            reason = f"The data URL at {server} answered HTTP {response.status_code}."
            raise TaskError(TaskCode.DATA_NOT_FETCHED, reason)
        for chunk in response.iter_raw(CHUNK_BYTES):
            size += len(chunk)
            if size > MAX_ZIP_BYTES:
                reason = f"The data set is larger than {_gigabytes(MAX_ZIP_BYTES)}."
                raise TaskError(TaskCode.INVALID_PARAMETER, reason)
            if time.monotonic() > deadline:
                reason = f"The data URL at {server} took longer than {FETCH_LIMIT_S:.0f} s."
                raise TaskError(TaskCode.DATA_NOT_FETCHED, reason)
            file.write(chunk)


def _client(url: str, server: str) -> httpx.Client:
    try:
        return httpx.Client(
            timeout=TIMEOUTS,
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            # Loopback never goes through a proxy that the environment names: it is another
            # machine. A redirect from there to elsewhere does without the proxy too.
            trust_env=not is_loopback(url),
            verify=httpx.create_ssl_context(),  # SSL_CERT_FILE counts in either case
            event_hooks={"request": [_RefuseDowngrade()]},
        )
    except ImportError as error:  # httpx speaks SOCKS with an extra only
        reason = (
            f"The data URL at {server} could not be fetched: "
            "the proxy in the environment needs `pip install httpx[socks]`."
        )
        raise TaskError(TaskCode.DATA_NOT_FETCHED, reason) from error


class _RefuseDowngrade:
    """Refuses a redirect from https to http; schemes other than these two httpx refuses itself."""

    def __init__(self) -> None:
        self._was_https = False

    def __call__(self, request: httpx.Request) -> None:
        if self._was_https and request.url.scheme != "https":
            raise httpx.UnsupportedProtocol("a redirect left https", request=request)
        self._was_https = request.url.scheme == "https"


def require_enough_images(file: IO[bytes]) -> int:
    """Return the number of images in a zip.

    Raises:
        TaskError: 1401, the file is no zip, breaks a limit or holds fewer than 10 images.
    """
    images, files = count_images(file)
    if images < MIN_IMAGES:
        raise TaskError(
            TaskCode.INVALID_PARAMETER,
            f"The data set holds {images} images that can be opened (in {files} files); "
            f"at least {MIN_IMAGES} are needed.",
        )
    return images


def count_images(file: IO[bytes]) -> tuple[int, int]:
    """Return how many images a zip holds that really decode, and how many files.

    Raises:
        TaskError: 1401, the file is no zip or breaks a limit.
    """
    try:
        with zipfile.ZipFile(_ShortReads(file)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_declared_sizes(entries)
            return sum(_is_image(archive, entry) for entry in entries), len(entries)
    except TaskError:
        raise
    except Exception as error:  # zipfile raises far more than BadZipFile on hostile bytes
        reason = "The data URL does not lead to a zip file."
        raise TaskError(TaskCode.INVALID_PARAMETER, reason) from error


class _ShortReads:
    """A file that refuses long reads: `ZipFile` reads a zip's whole directory in one, unbounded."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1) -> bytes:
        wanted = MAX_READ_BYTES + 1 if size < 0 else min(size, MAX_READ_BYTES + 1)
        data = self._file.read(wanted)
        if len(data) > MAX_READ_BYTES:
            raise TaskError(TaskCode.INVALID_PARAMETER, "The zip's directory is too large.")
        return data


def _check_declared_sizes(entries: list[zipfile.ZipInfo]) -> None:
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_ENTRIES:
        reason = f"The zip holds {len(entries)} files; at most {MAX_ENTRIES} are taken."
    elif unpacked > MAX_UNPACKED_BYTES:
        reason = (
            f"The zip unpacks to {_gigabytes(unpacked)}, above {_gigabytes(MAX_UNPACKED_BYTES)}."
        )
    else:
        return
    raise TaskError(TaskCode.INVALID_PARAMETER, reason)


def _is_image(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Say whether one file of the zip decodes to its last row."""
    if entry.compress_type not in PACKINGS or entry.file_size > MAX_ENTRY_BYTES:
        return False
    try:
        with Image.open(_unpack(archive, entry), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return False
            image.draft(None, (1, 1))  # JPEG: every byte is decoded, an eighth of the side is kept
            image.load()
    except Exception:  # noqa: BLE001 - decoders raise anything on broken bytes; it means one thing
        return False
    return True


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> io.BytesIO:
    unpacked = io.BytesIO()
    with archive.open(entry) as source:
        while chunk := source.read(CHUNK_BYTES):
            unpacked.write(chunk)
            if unpacked.tell() > MAX_ENTRY_BYTES:
                raise zipfile.BadZipFile("more than was declared")
    unpacked.seek(0)
    return unpacked


def _gigabytes(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"
