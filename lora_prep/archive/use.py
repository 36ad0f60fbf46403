"""How an archived LoRA is used: at the provider, in ComfyUI, with diffusers.

At the provider: `loras` of {path, scale}, and for Wan 2.2 `high_noise_loras` and `low_noise_loras`
(its API pages for wan-2.1 and wan-2.2 inference). Its links die after 7 days, ours are fresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from lora_prep.model import Lora
from lora_prep.stores import S3Store

__all__ = ["Inference", "comfyui_line", "diffusers_line", "inference_loras"]

SCALE = 1.0  # the API's default
FIELDS = {"single": "loras", "high_noise": "high_noise_loras", "low_noise": "low_noise_loras"}


@dataclass(frozen=True, slots=True)
class Inference:
    """What to paste into a request for a video. expires_at: when the first of its links dies."""

    fields: dict[str, list[dict[str, Any]]] = field(repr=False)
    expires_at: datetime


def inference_loras(store: S3Store, loras: Sequence[Lora], life: timedelta) -> Inference:
    """Return the `loras` of a request, with links that were just signed.

    Each link is a password for its file until it expires; that may be before `life` is over, since
    no link outlives the key that signs it.

    Raises:
        StorageError, CredentialsError: nothing could be signed.
    """
    links = [store.presign(lora.object.key, life) for lora in loras]
    fields: dict[str, list[dict[str, Any]]] = {}
    for lora, link in zip(loras, links, strict=True):
        fields.setdefault(FIELDS[lora.role], []).append({"path": link.url, "scale": SCALE})
    return Inference(fields, min(link.expires_at for link in links))


def comfyui_line(loras: Sequence[Lora]) -> str:
    """Return in one line what to do in ComfyUI."""
    names = _names(loras)
    if {"high_noise", "low_noise"} <= names.keys():
        return (
            f"put both into models/loras; LoraLoaderModelOnly with {names['high_noise']} on the "
            f"high-noise model and {names['low_noise']} on the low-noise one."
        )
    return f"put it into models/loras, then LoraLoaderModelOnly with {next(iter(names.values()))}."


def diffusers_line(loras: Sequence[Lora]) -> str:
    """Return one line of Python for diffusers' WanPipeline."""
    names = _names(loras)
    if {"high_noise", "low_noise"} <= names.keys():
        return (
            f'pipe.load_lora_weights(".", weight_name="{names["high_noise"]}"); '
            f'pipe.load_lora_weights(".", weight_name="{names["low_noise"]}", '
            "load_into_transformer_2=True)"
        )
    return f'pipe.load_lora_weights(".", weight_name="{next(iter(names.values()))}")'


def _names(loras: Sequence[Lora]) -> dict[str, str]:
    return {lora.role: lora.object.key.rpartition("/")[2] for lora in loras}
