"""Keep a LoRA for good: local copy first, bucket second, sidecar last.

How far it has come stands in the journal; each step can be repeated, and repeating changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lora_prep.archive.card import model_card
from lora_prep.archive.check import check_file
from lora_prep.archive.download import KEPT_FOR, Limits, download, spoken
from lora_prep.archive.journal import (
    ArchiveState,
    Journal,
    KeptFile,
    read_journal,
    write_durably,
    write_journal,
)
from lora_prep.archive.links import Links
from lora_prep.archive.part import Part
from lora_prep.archive.sidecar import TrainingFacts, find_archived, put_sidecar, sidecar_of
from lora_prep.errors import ArchiveError, LoraBroken, LoraInvalid
from lora_prep.events import Event, Listener, ignore
from lora_prep.guard import Guard
from lora_prep.model import Lora, LoraFacts, Prediction, PredictionStatus, Role, StoredObject
from lora_prep.stores import S3Store, card_key, lora_key

__all__ = ["How", "archive_lora", "local_path", "put_back"]

BYTES = "application/octet-stream"
UNVERIFIED = ".bin"  # the name's ending of a file of another format
CARD = "README.md"
SIDECAR = "lora.json"


@dataclass(frozen=True, slots=True)
class How:
    """How it is archived.

    guard: which hosts may be asked for the files, any without; verify: "read" reads every byte
    back from the bucket, "head" asks only for length and recorded hash, for links that are paid by
    the byte; ask: gives the prediction anew when a link is dead.
    """

    limits: Limits = field(default_factory=Limits)
    guard: Guard | None = None
    verify: Literal["read", "head"] = "read"
    ask: Callable[[], Prediction] | None = None


def archive_lora(
    prediction: Prediction,
    facts: TrainingFacts,
    *,
    run_id: str,
    store: S3Store,
    folder: Path,
    how: How = How(),
    on_event: Listener = ignore,
) -> tuple[Lora, ...]:
    """Download every output, verify it, put it into the bucket and read it back.

    A LoRA is returned only when its length, its safetensors structure, its SHA-256 and what the
    bucket gives back all agree. All outputs of a training are one result: the sidecar is written
    when every one of them is kept. What lies in the bucket is never overwritten.

    Raises:
        ResultExpired: a file is not here yet, and there is no link, or a dead one and no other.
        LoraInvalid: a file is truncated, padded, or no LoRA; LoraBroken: its numbers are useless.
        ArchiveError: it could not be downloaded or kept, or the bucket gave back other bytes.
        StorageError, CredentialsError: the bucket failed.
    """
    return _Keeping(prediction, facts, run_id, store, folder, how, on_event).run()


def put_back(
    facts: TrainingFacts,
    *,
    run_id: str,
    store: S3Store,
    folder: Path,
    how: How = How(),
    on_event: Listener = ignore,
) -> tuple[Lora, ...]:
    """Archive once more what an archive left in `folder`; the provider is asked for nothing.

    For a bucket that has lost it, also when the provider keeps it no longer. Returns () when not
    every file lies there with the bytes it was archived with.

    Raises:
        ArchiveError: other bytes lie where it belongs; nothing is overwritten.
        StorageError, CredentialsError: the bucket failed.
    """
    journal, known = read_journal(folder), _read_sidecar(folder)
    if journal is None or not journal.files or not known:
        return ()
    if not all(_is_whole(local_path(folder, file), file.facts) for file in journal.files):
        return ()
    prediction = Prediction(journal.prediction_id, facts.model, PredictionStatus.COMPLETED, ())
    return _Keeping(prediction, facts, run_id, store, folder, how, on_event, known).run()


def local_path(folder: Path, file: KeptFile) -> Path:
    """Return where the local copy of a file lies."""
    return folder / f"{file.stem}{_suffix(file.facts)}"


@dataclass(frozen=True, slots=True)
class _Keeping:
    """One training on its way into the bucket. known: what an earlier sidecar said of it."""

    prediction: Prediction
    facts: TrainingFacts
    run_id: str
    store: S3Store
    folder: Path
    how: How
    on_event: Listener
    known: dict[str, Any] = field(default_factory=dict)

    def run(self) -> tuple[Lora, ...]:
        links = Links(self.prediction, self.how.ask)
        journal = self._begin()
        journal = self._downloaded(journal, links)
        journal = self._uploaded(journal)
        journal = self._verified(journal)
        return self._committed(journal)

    def _begin(self) -> Journal:
        journal = read_journal(self.folder)
        if journal is None or journal.prediction_id != self.prediction.id:
            journal = Journal(self.prediction.id, ArchiveState.SUBMITTED)
        if journal.deadline is None:
            seen_at = self.prediction.created_at or datetime.now(UTC)
            journal = replace(journal, deadline=seen_at + KEPT_FOR)
        if journal.has(ArchiveState.UPLOADED) and not self._is_there(journal):
            # It was moved or deleted, or another bucket is set now.
            journal = replace(journal, state=ArchiveState.DOWNLOADED)
        return self._note(journal.at(ArchiveState.COMPLETED))

    def _is_there(self, journal: Journal) -> bool:
        """Whether the bucket has what the journal says that it has; only lengths are asked."""
        if journal.has(ArchiveState.MANIFEST) and not find_archived(self.store, self.run_id):
            return False
        heads = [(self.store.head(file.key), file.facts.size_bytes) for file in journal.files]
        return all(seen and seen.size_bytes == size_bytes for seen, size_bytes in heads)

    def _is_here(self, journal: Journal) -> bool:
        """Whether every file is here, sound: then no link is needed any more."""
        here = [_sound(local_path(self.folder, file)) for file in journal.files]
        wanted = [file.facts.sha256 for file in journal.files]
        return bool(here) and [facts and facts.sha256 for facts in here] == wanted

    def _key(self, facts: LoraFacts) -> str:
        return self.store.key(lora_key(self.run_id, facts.sha256, _suffix(facts)))

    def _note(self, journal: Journal) -> Journal:
        write_journal(self.folder, journal)
        return journal

    # ── here ──────────────────────────────────────────────────────────────────────────────────

    def _downloaded(self, journal: Journal, links: Links) -> Journal:
        if journal.has(ArchiveState.VERIFIED):  # the bucket has it; the copy here may be gone
            return journal
        if journal.has(ArchiveState.DOWNLOADED) and self._is_here(journal):
            files = [replace(file, key=self._key(file.facts)) for file in journal.files]
            return self._note(journal.at(ArchiveState.DOWNLOADED, files))
        files = []
        for index, role in enumerate(links.roles()):
            # Their order is not reliable: what has a role is called by it.
            stem = str(index + 1) if role == "single" else role
            facts = self._fetched(stem, index, role, links, journal)
            files.append(KeptFile(stem, role, facts, self._key(facts)))
        return self._note(journal.at(ArchiveState.DOWNLOADED, files))

    def _fetched(
        self, stem: str, index: int, role: Role, links: Links, journal: Journal
    ) -> LoraFacts:
        """Return the facts of the local copy; it is downloaded only if there is no good one."""
        for suffix in (".safetensors", UNVERIFIED):
            path = self.folder / f"{stem}{suffix}"
            if path.exists() and (facts := _sound(path)):
                return facts
        fresh = self.folder / f"{stem}.unchecked"
        came = None  # one that is there was killed before it was looked at
        if not fresh.exists():
            came = self._download(index, role, links, journal, fresh)
        try:
            facts = self._checked(fresh, came)
        except LoraBroken:
            raise  # it is what the provider has: another download gives the same
        except LoraInvalid:  # what comes over a network may be well the second time
            fresh.unlink()
            came = self._download(index, role, links, journal, fresh)
            facts = self._checked_or_gone(fresh, came)
        fresh.replace(self.folder / f"{stem}{_suffix(facts)}")
        return facts

    def _download(self, index: int, role: Role, links: Links, journal: Journal, path: Path) -> str:
        if journal.deadline:
            left = spoken(journal.deadline - datetime.now(UTC))
            self.on_event(Event("archive", f"downloading, the provider keeps it {left} more"))
        return download(
            links.link(index, role),
            path,
            limits=self.how.limits,
            guard=self.how.guard,
            deadline=journal.deadline,
            fresh_url=links.renew(index, role),
            on_event=self.on_event,
        )

    def _checked(self, path: Path, came: str | None) -> LoraFacts:
        """Check a file of this machine; came: the hash of what came over the network."""
        Part(path).note_path.unlink(missing_ok=True)  # of a process that was killed just then
        self.on_event(Event("archive", "checking"))
        facts = check_file(path)
        if came not in (None, facts.sha256):
            raise LoraInvalid(
                "The LoRA on the disk is not what was downloaded.",
                why=f"{facts.sha256} was read back, {came} was written.",
                fix="Look at this machine's disk and memory, then go on.",
            )
        return facts

    def _checked_or_gone(self, path: Path, came: str) -> LoraFacts:
        try:
            return self._checked(path, came)
        except LoraBroken:
            raise
        except LoraInvalid:
            path.unlink()
            raise

    # ── in the bucket ─────────────────────────────────────────────────────────────────────────

    def _uploaded(self, journal: Journal) -> Journal:
        if journal.has(ArchiveState.UPLOADED):
            return journal
        files = []
        for file in journal.files:
            self._upload(file)
            seen = self.store.head(file.key)
            etag, version_id = (seen.etag, seen.version_id) if seen else (None, None)
            files.append(replace(file, etag=etag, version_id=version_id))
        return self._note(journal.at(ArchiveState.UPLOADED, files))

    def _upload(self, file: KeptFile) -> None:
        """Upload a file unless something lies there; whether that is the same is verified next."""
        sent, size_bytes = 0, file.facts.size_bytes
        counting = threading.Lock()  # parts of a large file go up in several threads

        def progress(count: int) -> None:
            nonlocal sent
            with counting:
                sent += count
            self.on_event(Event("archive", "uploading", done=sent, total=size_bytes, unit="bytes"))

        self.store.put_new(
            local_path(self.folder, file),
            file.key,
            sha256=file.facts.sha256,
            content_type=BYTES,
            on_bytes=progress,
        )

    def _verified(self, journal: Journal) -> Journal:
        if journal.has(ArchiveState.VERIFIED):
            return journal
        for file in journal.files:
            self._verify(file)
        return self._note(journal.at(ArchiveState.VERIFIED))

    def _verify(self, file: KeptFile) -> None:
        wanted = (file.facts.sha256, file.facts.size_bytes)
        seen = self.store.head(file.key)
        recorded = (seen.sha256, seen.size_bytes) if seen else (None, 0)
        # A service that keeps no metadata leaves nothing to compare: then it is read all the same.
        if self.how.verify == "head" and recorded == wanted:
            return
        self.on_event(Event("archive", "reading back"))
        found = self.store.sha256(file.key) if seen else ("nothing", 0)
        if found != wanted:
            # Begun anew from here on: the object may be moved away by then.
            self._note(replace(self._journal(), state=ArchiveState.DOWNLOADED))
            raise ArchiveError(
                "The bucket gives back other bytes than belong there.",
                why=f"{found[1]} bytes with sha256 {found[0][:12]} instead of {wanted[1]} with "
                f"{wanted[0][:12]} lie at {file.key}. Nothing is ever overwritten.",
                fix="Move that object away, then archive again; the local copy is good: "
                f"{local_path(self.folder, file)}",
            )

    def _journal(self) -> Journal:
        journal = read_journal(self.folder)
        assert journal is not None, "it was written before"  # noqa: S101
        return journal

    def _committed(self, journal: Journal) -> tuple[Lora, ...]:
        loras = tuple(self._lora(file) for file in journal.files)
        if journal.has(ArchiveState.MANIFEST):
            return loras
        sidecar = sidecar_of(self.prediction, self.facts, loras) | self.known
        write_durably(self.folder / SIDECAR, json.dumps(sidecar, indent=2))
        self._put_card(loras)
        put_sidecar(self.store, self.run_id, sidecar)
        self._note(journal.at(ArchiveState.MANIFEST))
        return loras

    def _put_card(self, loras: Sequence[Lora]) -> None:
        text, key = model_card(self.facts, loras), self.store.key(card_key(self.run_id))
        write_durably(self.folder / CARD, text)
        if self.store.head(key) is None:
            self.store.put_bytes(text.encode(), key, content_type="text/markdown; charset=utf-8")

    def _lora(self, file: KeptFile) -> Lora:
        path = local_path(self.folder, file)
        stored = StoredObject(
            self.store.access.bucket,
            file.key,
            file.facts.size_bytes,
            file.facts.sha256,
            file.etag,
            file.version_id,
        )
        return Lora(file.facts, file.role, stored, path if path.exists() else None)


def _suffix(facts: LoraFacts) -> str:
    return ".safetensors" if facts.verified else UNVERIFIED


def _is_whole(path: Path, facts: LoraFacts) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == facts.sha256
    except OSError:
        return False


def _read_sidecar(folder: Path) -> dict[str, Any]:
    """Return what the local sidecar says of training, data set and tool; {} without one."""
    try:
        sidecar = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
        return {name: sidecar[name] for name in ("training", "dataset", "tool")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _sound(path: Path) -> LoraFacts | None:
    """Return the facts of a file that is here and whole."""
    try:
        return check_file(path)
    except (FileNotFoundError, LoraInvalid):
        return None
