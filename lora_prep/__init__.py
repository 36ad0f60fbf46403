"""lora_prep: from a folder of photos of one person to a verified Wan LoRA in your own bucket.

The rooms, in the order the data flows: photos, faces, inspection, selection, cropping, bundle,
stores, trainers, archive; report draws what happened. Each is a folder of plain functions over
the frozen dataclasses of `lora_prep.model`. The whole chain is `pipelines.steps`.

Importing this package is cheap: a name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_prep.archive import archive_lora, check_lora
    from lora_prep.bundle import pack
    from lora_prep.cropping import crop_photos
    from lora_prep.errors import LoraPrepError
    from lora_prep.faces import FaceAnalyser
    from lora_prep.inspection import inspect_photos
    from lora_prep.photos import find_photos
    from lora_prep.report import write_contact_sheet, write_report
    from lora_prep.selection import require_enough, select_photos
    from lora_prep.settings import Settings, load_settings
    from lora_prep.stores import S3Store
    from lora_prep.trainers import TrainerClient

__version__ = "0.1.0"

_HOMES = {
    "FaceAnalyser": "faces",
    "LoraPrepError": "errors",
    "S3Store": "stores",
    "Settings": "settings",
    "TrainerClient": "trainers",
    "archive_lora": "archive",
    "check_lora": "archive",
    "crop_photos": "cropping",
    "find_photos": "photos",
    "inspect_photos": "inspection",
    "load_settings": "settings",
    "pack": "bundle",
    "require_enough": "selection",
    "select_photos": "selection",
    "write_contact_sheet": "report",
    "write_report": "report",
}

__all__ = [
    "FaceAnalyser",
    "LoraPrepError",
    "S3Store",
    "Settings",
    "TrainerClient",
    "__version__",
    "archive_lora",
    "check_lora",
    "crop_photos",
    "find_photos",
    "inspect_photos",
    "load_settings",
    "pack",
    "require_enough",
    "select_photos",
    "write_contact_sheet",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if room := _HOMES.get(name):
        return getattr(import_module(f"lora_prep.{room}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
