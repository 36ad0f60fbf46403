"""Where in the bucket what lies. Keys carry run ids, never a name or a folder."""

from __future__ import annotations

from datetime import datetime

__all__ = [
    "LORAS",
    "PROBES",
    "ROOMS",
    "card_key",
    "dataset_key",
    "lora_key",
    "sidecar_key",
    "submission_of",
]

LORAS = "loras/"
"""Below it lies a folder for each run that was archived."""
PROBES = ".lora_prep/"
"""Below it a bucket is tried out; what lies there is noise, and nobody's."""
ROOMS = ("datasets/", LORAS, PROBES)
"""All that is ours below a store's prefix. Without one the bucket may be others' too."""


def dataset_key(submission_key: str, sha256: str, when: datetime) -> str:
    """Return the key of a data set zip: its submission's own, temporary, ASCII, ending in .zip.

    A submission whose answer was lost is recognised by it in the provider's list.
    """
    return f"datasets/{when:%Y}/{submission_key}/{sha256[:16]}.zip"


def submission_of(key: str) -> str:
    """Return the key of the submission that a data set zip is for; "" when it says none."""
    parts = key.split("/")
    return parts[-2] if len(parts) >= 3 else ""


def lora_key(run_id: str, sha256: str, suffix: str = ".safetensors") -> str:
    """Return the key of a LoRA: its hash is in it, so archiving it again changes nothing."""
    return f"{LORAS}{run_id}/{run_id}-{sha256[:12]}{suffix}"


def sidecar_key(run_id: str) -> str:
    """Return the key of the sidecar that is written last and so commits the archive."""
    return f"{LORAS}{run_id}/lora.json"


def card_key(run_id: str) -> str:
    """Return the key of the model card beside the LoRA."""
    return f"{LORAS}{run_id}/README.md"
