"""The data set of a task: fetched from its URL, then counted. Nothing of it is kept.

Both ends are hostile ground: the URL is a stranger's server and the zip a stranger's file. Every
size has a limit that is held while reading, whatever the headers declare.
"""

from __future__ import annotations

import io
import tempfile
import threading
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import httpx
from PIL import Image

from lora_prep.guard import AddressRefused, Guard
from lora_prep.trainer_service.protocol import TaskCode, TaskError

__all__ = ["count_images", "fetch", "require_enough_images"]

MAX_ZIP_BYTES: Final = 2 * 1024**3  # 1000 camera originals; our own bundles are under 20 MB
MAX_UNPACKED_BYTES: Final = 2 * 1024**3
MAX_ENTRY_BYTES: Final = 200 * 1024**2
MAX_ENTRIES: Final = 1000
MAX_READ_BYTES: Final = 4 * 1024**2  # a directory of 1000 entries with 4 kB names
COUNT_LIMIT_S: Final = 300.0  # a thousand small files may each unpack into a huge picture
MAX_PIXELS: Final = 89_478_485  # where Pillow itself begins to suspect a bomb
FORMATS: Final = ("JPEG", "PNG", "WEBP")  # others start programs (EPS) or rarely tested decoders
PACKINGS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks others without limit
CHUNK_BYTES: Final = 1024**2
TIMEOUTS: Final = httpx.Timeout(30.0, connect=10.0)
FETCH_LIMIT_S: Final = 900.0  # a server that drips holds a worker no longer than this
RETRY_WAITS_S: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
"""After a connection that failed: a store that is just being restarted is not gone."""
NO_ZIP: Final = "The data URL does not lead to a zip file."


def fetch(url: str, folder: Path, guard: Guard, stop: threading.Event) -> IO[bytes]:
    """Download a data set and return it as an open file without a name, at its start.

    The file has no name from the beginning (`O_TMPFILE`, or unlinked when just made), so the
    photos are gone with the process, even one that is killed. `stop` ends it early.

    Raises:
        TaskError: 1402, the URL does not give a whole file; 1401, it gives no zip or more than
            2 GiB; 1403, it was stopped.
    """
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
    download = _Download(url, guard, stop, file)
    try:
        download.run_patiently()
    except BaseException as error:
        file.close()
        if isinstance(error, AddressRefused):
            raise download.failed("leads into a private network") from error
        if isinstance(error, ImportError):  # httpx speaks SOCKS with an extra only
            need = "could not be fetched: the proxy in the environment needs"
            raise download.failed(f"{need} `pip install httpx[socks]`") from error
        if isinstance(error, (httpx.HTTPError, httpx.InvalidURL)):
            # The class only: the texts of httpx may quote the URL, also a redirect's.
            reason = f"could not be fetched ({type(error).__name__})"
            raise download.failed(reason) from error
        raise
    file.seek(0)
    return file


@dataclass(frozen=True, slots=True)
class _Download:
    """One data set on its way into a file."""

    url: str
    guard: Guard
    stop: threading.Event
    file: IO[bytes]

    def failed(self, words: str) -> TaskError:
        """Return the error that says what the data URL did, and of the URL only host and port."""
        server = httpx.URL(self.url).netloc.decode("ascii")
        return TaskError(TaskCode.DATA_NOT_FETCHED, f"The data URL at {server} {words}.")

    def run_patiently(self) -> None:
        for wait_s in RETRY_WAITS_S:
            try:
                return self._run()
            except httpx.NetworkError:
                self.stop.wait(wait_s)
                self.file.seek(0)
                self.file.truncate()
        return self._run()

    def _run(self) -> None:
        # Raw bytes and no content coding: a few gzip bytes could unpack into gigabytes.
        headers = {"Accept-Encoding": "identity"}
        with (
            self.guard.client(self.url, TIMEOUTS) as client,
            client.stream("GET", self.url, headers=headers) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise self.failed(f"answered HTTP {response.status_code}")
            declared = response.headers.get("Content-Length", "")
            _check_size(int(declared) if declared.isdecimal() else 0)
            self._receive(response)

    def _receive(self, response: httpx.Response) -> None:
        deadline = time.monotonic() + FETCH_LIMIT_S
        size = 0
        for chunk in response.iter_raw():
            if size == 0:
                _check_start(chunk)  # at once: a web page, or what never ends, is not waited for
            size += len(chunk)
            _check_size(size)
            if time.monotonic() > deadline:
                raise self.failed(f"took longer than {FETCH_LIMIT_S:.0f} s")
            if self.stop.is_set():
                raise TaskError(TaskCode.NOT_EXECUTED, "The training was stopped.")
            self.file.write(chunk)


def _check_start(chunk: bytes) -> None:
    if not b"PK".startswith(chunk[:2]):
        raise TaskError(TaskCode.INVALID_PARAMETER, NO_ZIP)


def _check_size(size: int) -> None:
    if size > MAX_ZIP_BYTES:
        reason = f"The data set is larger than {_gigabytes(MAX_ZIP_BYTES)}."
        raise TaskError(TaskCode.INVALID_PARAMETER, reason)


def require_enough_images(file: IO[bytes], least: int) -> int:
    """Return the number of images in a zip.

    Raises:
        TaskError: 1401, the file is no zip, breaks a limit or holds fewer than `least` images.
    """
    images, files = count_images(file)
    if images < least:
        raise TaskError(
            TaskCode.INVALID_PARAMETER,
            f"The data set holds {images} images that can be opened (in {files} files); "
            f"at least {least} are needed.",
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
            return _count_in_time(archive, entries), len(entries)
    except TaskError:
        raise
    except Exception as error:  # zipfile raises far more than BadZipFile on hostile bytes
        raise TaskError(TaskCode.INVALID_PARAMETER, NO_ZIP) from error


def _count_in_time(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> int:
    deadline = time.monotonic() + COUNT_LIMIT_S
    images = 0
    for entry in entries:
        images += _is_image(archive, entry)
        if time.monotonic() > deadline:
            reason = f"The images take longer than {COUNT_LIMIT_S:.0f} s to open."
            raise TaskError(TaskCode.INVALID_PARAMETER, reason)
    return images


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
