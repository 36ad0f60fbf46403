"""Terms that must be accepted once before a pack is used, and the record that they were."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from lora_prep.errors import ConfigurationError
from lora_prep.faces.known import KNOWN_PACKS
from lora_prep.faces.packs import FacePack

__all__ = ["are_accepted", "require_terms"]

RECORD = "accepted.json"


def require_terms(pack: FacePack, home: Path, *, accept: bool) -> None:
    """Let a pack pass whose terms allow everything, or were accepted; record a new acceptance.

    Raises:
        ConfigurationError: the pack is for non-commercial use and nobody accepted that; the text
            states the terms.
    """
    if not pack.noncommercial or are_accepted(pack, home):
        return
    if not accept:
        raise ConfigurationError(
            f"The terms of the face pack {pack.name!r} were not accepted yet.",
            why=pack.licence,
            fix="If your use is of that kind, say so once: add --accept-noncommercial, or set "
            "faces.accept_noncommercial. The pack 'open' is free for every use.",
        )
    _record(pack, home)


def are_accepted(pack: FacePack, home: Path) -> bool:
    """Whether these very terms of the pack were accepted before."""
    entry = _read(home).get(_key(pack))
    return isinstance(entry, dict) and entry.get("terms_sha256") == _hash(pack.licence)


def _record(pack: FacePack, home: Path) -> None:
    entry = {"terms_sha256": _hash(pack.licence), "at": datetime.now(UTC).isoformat()}
    record = {"schema": 1, "accepted": {**_read(home), _key(pack): entry}}
    # Where nothing can be written the acceptance still holds for this command.
    with suppress(OSError):
        folder = home / "faces"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=folder, prefix=".accepted-", delete=False) as file:
            json.dump(record, file, indent=2)
        Path(file.name).replace(folder / RECORD)


def _read(home: Path) -> dict[str, Any]:
    """Return who was accepted; a record that cannot be read accepts nothing."""
    try:
        accepted = json.loads((home / "faces" / RECORD).read_bytes())["accepted"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return accepted if isinstance(accepted, dict) else {}


def _key(pack: FacePack) -> str:
    return pack.name if pack.name in KNOWN_PACKS else str(pack.folder)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
