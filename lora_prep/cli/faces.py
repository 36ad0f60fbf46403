"""faces list, faces fetch, faces verify: the models that find faces and tell people apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lora_prep.cli.session import SessionParameter, shown
from lora_prep.errors import ConfigurationError
from lora_prep.faces import (
    KNOWN_PACKS,
    OPEN_PACK,
    FacePack,
    are_accepted,
    fetch_pack,
    known_pack,
    locate_pack,
    verify_pack,
)
from lora_prep.settings import home_folder, load_settings

__all__ = ["faces_fetch", "faces_list", "faces_verify"]


def faces_list(*, session: SessionParameter) -> None:
    """List the face packs: which are here, what they may be used for, and their numbers.

    cut is the distance, in the pack's own metric, beyond which two faces are two people.
    """
    home = home_folder()
    rows = [_row(OPEN_PACK, home, here=True, download_bytes=None)]
    for known in KNOWN_PACKS.values():
        pack = known.at(known.folder(home), known.models, "")
        rows.append(
            _row(pack, home, here=_is_here(known.name, home), download_bytes=known.archive_bytes)
        )
    session.result = lambda: {"schema": 1, "packs": rows}
    for row in rows:
        size = f"{row['download_bytes'] / 1e6:.0f} MB" if row["download_bytes"] else "comes along"
        session.answer(
            f"{row['name']:<11} {'here' if row['here'] else '-':<5} {size:<12} "
            f"{row['metric']:<10} cut {row['cut']:<5} "
            f"{'non-commercial only' if row['noncommercial'] else 'free for every use'}"
        )


def faces_fetch(
    name: Annotated[str, Parameter(name="NAME", help="A name of: lora-prep faces list")],
    /,
    *,
    accept_noncommercial: Annotated[
        bool,
        Parameter(
            help="You accept that the models are for non-commercial research only.",
            show_default=False,
        ),
    ] = False,
    session: SessionParameter,
) -> None:
    """Fetch one of InsightFace's packs into LORA_PREP_HOME, and check it.

    The terms must be accepted once. A pack that is here and whole is not fetched again; a damaged
    one is mended.
    """
    known, settings, home = known_pack(name), load_settings().faces, home_folder()
    fetched = fetch_pack(
        known,
        home,
        accept_noncommercial=accept_noncommercial or settings.accept_noncommercial,
        base_url=settings.base_url,
        connect_timeout_s=settings.connect_timeout_s,
        read_timeout_s=settings.read_timeout_s,
        on_event=session.on_event,
    )
    session.result = lambda: {
        "schema": 1,
        **_row(fetched.pack, home, here=True, download_bytes=known.archive_bytes),
        "sha256": fetched.sha256,
        "downloaded": fetched.downloaded,
    }
    session.answer(str(fetched.pack.folder))
    session.say(f"Use it with: --face-pack {name}. {fetched.pack.licence}")


def faces_verify(
    pack: Annotated[
        str | None,
        Parameter(name="NAME|FOLDER", help="A pack; every one that is here without."),
    ] = None,
    /,
    *,
    session: SessionParameter,
) -> None:
    """Hash the models of packs and compare them with what they must be.

    "unpinned" is a folder of models whose hashes nothing states; the hash is shown all the same.
    """
    home, rows = home_folder(), list[dict[str, Any]]()
    session.result = lambda: {"schema": 1, "packs": rows}
    here = [OPEN_PACK.name, *(name for name in KNOWN_PACKS if _is_here(name, home))]
    for wanted in here if pack is None else [pack]:
        found = locate_pack(wanted, home)
        row = {
            "name": found.name,
            "folder": str(found.folder),
            "sha256": verify_pack(found),
            "pinned": found.pinned,
        }
        rows.append(row)
        state = "sound" if found.pinned else "unpinned"
        session.answer(f"{shown(found.name):<11} {state:<9} {row['sha256']}")


def _is_here(name: str, home: Path) -> bool:
    try:
        locate_pack(name, home)
    except ConfigurationError:
        return KNOWN_PACKS[name].folder(home).exists()
    return True


def _row(pack: FacePack, home: Path, *, here: bool, download_bytes: int | None) -> dict[str, Any]:
    return {
        "name": pack.name,
        "here": here,
        "folder": str(pack.folder),
        "metric": pack.metric,
        "cut": pack.cut,
        "detection_threshold": pack.detection_threshold,
        "licence": pack.licence,
        "noncommercial": pack.noncommercial,
        "accepted": not pack.noncommercial or are_accepted(pack, home),
        "download_bytes": download_bytes,
    }
