"""What the zip was made of: the one place that ties a neutral name to a photo."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lora_prep.model import Bundle, Crop

__all__ = ["write_manifest"]


def write_manifest(
    path: Path,
    bundle: Bundle,
    crops: Sequence[Crop],
    *,
    face_pack: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the data set's manifest. It names the photos, so it never leaves this machine.

    face_pack: its name, licence and hash; overrides: what was decided by hand, by the photo's hash.
    """
    manifest = {
        "schema": 1,
        "zip": {"sha256": bundle.sha256, "bytes": bundle.size_bytes},
        "face_pack": dict(face_pack or {}),
        "overrides": {key: dict(value) for key, value in (overrides or {}).items()},
        "images": [
            {
                "name": crop.name,
                "sha256": crop.sha256,
                "size_px": crop.size_px,
                "source": crop.source,
                "source_sha256": crop.source_sha256,
                "box": crop.box.to_json(),
                "caption": crop.caption,
            }
            for crop in crops
        ],
    }
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    part.replace(path)
