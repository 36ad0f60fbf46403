"""What the zip was made of: the one place that ties a neutral name to a photo."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lora_prep.model import Bundle, Crop

__all__ = ["write_manifest"]


def write_manifest(path: Path, bundle: Bundle, crops: Sequence[Crop]) -> None:
    """Write the data set's manifest. It names the photos, so it never leaves this machine."""
    manifest = {
        "schema": 1,
        "zip": {"sha256": bundle.sha256, "bytes": bundle.size_bytes},
        "images": [
            {
                "name": crop.name,
                "sha256": crop.sha256,
                "size_px": crop.size_px,
                "source": crop.source,
                "source_sha256": crop.source_sha256,
                "box": crop.box.to_json(),
            }
            for crop in crops
        ],
    }
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    part.replace(path)
