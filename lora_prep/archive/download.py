"""Fetch a trained file from the provider's link to this machine, however long that takes.

What has come stays when a connection breaks, a server is overloaded, the process is killed or the
disk is full; the next try asks for the rest. It ends when the file is whole, or when the provider
does not keep it any longer.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lora_prep.addresses import host_and_port, why_not_a_server
from lora_prep.archive.answers import Again, DeadLink, begin_of, note_of, range_headers
from lora_prep.archive.part import Note, Part
from lora_prep.errors import ArchiveError, ResultExpired
from lora_prep.events import Event, Listener, ignore
from lora_prep.redaction import redacted

if TYPE_CHECKING:
    import httpx

    from lora_prep.guard import Guard

__all__ = ["KEPT_FOR", "Limits", "download", "spoken"]

KEPT_FOR = timedelta(days=7)
"""How long the provider keeps a result (its documentation)."""
GROWTH, JITTER = 2.0, 0.1  # of the pause between two tries; and so that many do not ask in step
TELL_EVERY_BYTES = 1 << 20
FULL = {ENOSPC, EDQUOT, EFBIG}


@dataclass(frozen=True, slots=True)
class Limits:
    """How large, how patient.

    max_bytes: of a file; spare_bytes: left free on the disk, since the run's record and database
    need room too; dead_links: in a row, until it is given up for now.
    """

    max_bytes: int = 8_000_000_000
    spare_bytes: int = 64_000_000
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    pause_min_s: float = 1.0
    pause_max_s: float = 300.0
    dead_links: int = 4


def download(
    url: str,
    path: Path,
    *,
    limits: Limits = Limits(),
    guard: Guard | None = None,
    deadline: datetime | None = None,
    fresh_url: Callable[[], str] | None = None,
    on_event: Listener = ignore,
) -> str:
    """Write what `url` serves to `path`; a file of that name is whole.

    Returns the SHA-256 of what came over the network, in hexadecimal digits.

    deadline: until when to try again, 7 days from now without; fresh_url: asked for another link
    when this one is dead; guard: which hosts may be asked, any without. No key is sent.

    Raises:
        ResultExpired: the link is dead (401, 403, 404, 410 ...) and there is no other one.
        ArchiveError: not fetched until the deadline, not allowed, too large, or no room for it.
            What has come is kept in `<path>.part`.
    """
    return _Fetch(Part(path), limits, guard or _any_host(), deadline, fresh_url, on_event).run(url)


@dataclass(slots=True)
class _Fetch:
    """One file on its way, over all tries."""

    part: Part
    limits: Limits
    guard: Guard
    deadline: datetime | None
    fresh_url: Callable[[], str] | None
    on_event: Listener
    dead: int = 0
    pause_s: float = field(default=0.0)

    def run(self, url: str) -> str:
        """Try until the file is whole, and return its hash.

        Raises: as `download`.
        """
        import httpx

        from lora_prep.guard import AddressRefused

        self._check(url)
        end = self.deadline or datetime.now(UTC) + KEPT_FOR
        while True:
            before = self.part.state()[0]
            try:
                return self._try(url)
            except DeadLink as error:
                ask = self._another_link(error)
                self._wait(url, end, error)
                url = ask()
                self._check(url)
            except Again as error:
                if error.drop:
                    self.part.drop()
                self._wait(url, end, error, progress=self._has_come(before))
            except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
                raise _failed(url, error) from error
            except AddressRefused as error:
                raise _private(url) from error
            except httpx.HTTPError as error:
                self._wait(url, end, error, progress=self._has_come(before))
            except OSError as error:
                raise _disk(self.part.whole, error) from error

    def _check(self, url: str) -> None:
        if why_not := why_not_a_server(url):
            raise _failed(url, ValueError(f"its address {why_not}"))

    def _has_come(self, before: int) -> bool:
        return self.part.state()[0] > before

    def _try(self, url: str) -> str:
        """Fetch what is missing, in one exchange, and return the hash of the whole."""
        import httpx

        have, note = self.part.state()
        if have and note and have == note.total:  # killed right before it got its name
            sha256 = self.part.sha256()
            self.part.finish()
            return sha256
        timeout = httpx.Timeout(self.limits.read_timeout_s, connect=self.limits.connect_timeout_s)
        with (
            self.guard.client(url, timeout) as client,
            client.stream("GET", url, headers=range_headers(have, note)) as response,
        ):
            begin = begin_of(response, have, note)
            if begin == 0 or note is None:
                note = note_of(response)
                self.part.drop()
                self.part.remember(note)
            self._check_room(begin, note)
            sha256 = self._write(response, begin, note)
        self.part.finish()
        return sha256

    def _write(self, response: httpx.Response, begin: int, note: Note) -> str:
        done = told = begin
        with self.part.growing(begin) as part:
            # httpx itself raises when fewer bytes come than Content-Length promised.
            for chunk in _bytes_of(response):
                done += len(chunk)
                if done > self.limits.max_bytes:
                    self._too_large(done)
                part.add(chunk)
                if done - told >= TELL_EVERY_BYTES:
                    told = done
                    self._tell(done, note)
            sha256 = part.sha256()
        self._tell(done, note)
        if note.total is not None and done != note.total:
            raise Again(f"{done} bytes came instead of {note.total}", drop=done > note.total)
        return sha256

    def _tell(self, done: int, note: Note) -> None:
        self.on_event(Event("archive", "downloading", done=done, total=note.total, unit="bytes"))

    def _check_room(self, begin: int, note: Note) -> None:
        if note.total is None:
            return
        if note.total > self.limits.max_bytes:
            self._too_large(note.total)
        free = shutil.disk_usage(self.part.path.parent).free
        if note.total - begin + self.limits.spare_bytes > free:
            raise ArchiveError(
                "There is no room for the LoRA on the disk.",
                why=f"{(note.total - begin) / 1e6:.0f} MB are to come, {free / 1e6:.0f} MB are "
                f"free in {self.part.path.parent}.",
                fix=f"Make room, then go on; it is kept for {KEPT_FOR.days} days.",
            )

    def _too_large(self, size: int) -> NoReturn:
        self.part.drop()
        raise ArchiveError(
            "The trainer's file is too large for a LoRA.",
            why=f"It has {size / 1e6:.0f} MB or more, archive.max_gb allows "
            f"{self.limits.max_bytes / 1e6:.0f} MB.",
            fix="Look at the result at the provider; raise archive.max_gb if it is right.",
        )

    def _another_link(self, error: DeadLink) -> Callable[[], str]:
        """Return who gives another link, unless that is hopeless."""
        self.dead += 1
        if self.fresh_url is None:
            raise ResultExpired(
                "The link to the LoRA is dead.",
                why=f"{error}.",
                fix="Links live 7 days; ask the provider for the result again.",
            ) from error
        if self.dead >= self.limits.dead_links:
            raise ArchiveError(
                "The links to the LoRA are dead.",
                why=f"{error}. The provider still has the training, and gave {self.dead} links.",
                fix=f"Try again soon; it is kept for {KEPT_FOR.days} days.",
            ) from error
        return self.fresh_url

    def _wait(self, url: str, end: datetime, error: Exception, *, progress: bool = False) -> None:
        """Pause, the longer the more often it failed; what came in between begins anew."""
        if progress:
            self.dead = 0
        limits = self.limits
        grown = limits.pause_min_s if progress or not self.pause_s else self.pause_s * GROWTH
        self.pause_s = min(grown, limits.pause_max_s)
        asked_s = error.after_s if isinstance(error, Again) else None
        pause_s = min(max(self.pause_s, asked_s or 0), max(limits.pause_max_s, self.pause_s))
        pause_s *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  no secret
        left = end - datetime.now(UTC)
        if timedelta(seconds=pause_s) >= left:
            raise _failed(url, error) from error
        self.on_event(
            Event(
                "archive",
                f"{_short(error)}; going on in {pause_s:.0f} s, {spoken(left)} are left",
            )
        )
        time.sleep(pause_s)


def spoken(left: timedelta) -> str:
    """Return a time that is left in the two units that count."""
    minutes = max(0, int(left.total_seconds() // 60))
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min"


def _bytes_of(response: httpx.Response) -> Iterator[bytes]:
    """Yield the file's bytes, also from a server that compresses although it was asked not to."""
    if response.headers.get("Content-Encoding", "identity") == "identity":
        return response.iter_raw()
    return response.iter_bytes()


def _any_host() -> Guard:
    from lora_prep.guard import Guard

    return Guard(closed=False)


def _short(error: Exception) -> str:
    text = redacted(str(error)).rstrip(".") or type(error).__name__
    return f"not downloaded yet ({text})"


def _failed(url: str, error: Exception) -> ArchiveError:
    return ArchiveError(
        f"The LoRA could not be downloaded from {host_and_port(url)}.",
        why=f"{type(error).__name__}: {redacted(str(error)).rstrip('.')}.",
        fix=f"Try again, what has come is kept; the provider keeps it for {KEPT_FOR.days} days.",
    )


def _private(url: str) -> ArchiveError:
    return ArchiveError(
        f"The link to the LoRA may not be followed: {host_and_port(url)}.",
        why="It leads into a private network, where a hosted trainer has nothing.",
        fix="Look at the result at the provider.",
    )


def _disk(path: Path, error: OSError) -> ArchiveError:
    full = "The disk is full" if error.errno in FULL else "The file cannot be written"
    return ArchiveError(
        f"The LoRA could not be written to {path.parent}.",
        why=f"{full}: {error.strerror}.",
        fix="Make room or give permission there, then go on; what has come is kept.",
    )
