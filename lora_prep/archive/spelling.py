"""How LoRA files for Wan name their tensors, and what each name means in the model's own words.

    diffusion_model.blocks.N.self_attn.q.lora_A.weight      ai-toolkit, diffusion-pipe; ComfyUI
    transformer.blocks.N.attn1.to_q.lora_A.weight           diffusers, finetrainers
    lora_unet_blocks_N_self_attn_q.lora_down.weight         musubi-tuner; has .alpha

Sources: diffusers 0.42.1 (scripts/convert_wan_to_diffusers.py, loaders/lora_conversion_utils.py),
musubi-tuner and ComfyUI by their files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from lora_prep.model import Spelling

__all__ = ["PREFIXES", "Name", "Part", "named", "parse", "split", "within_block"]

Part = Literal["down", "up", "alpha"]

PREFIXES: dict[str, Spelling] = {
    "diffusion_model.": "diffusion_model",
    "transformer.": "transformer",
    "lora_unet_": "lora_unet",
}
TENSOR = re.compile(
    r"(?P<stem>.+?)(?:"
    r"[._]lora_(?P<matrix>A|down|B|up)(?:\.default)?\.weight|\.(?P<alpha>alpha))"
)
BLOCK = re.compile(r"blocks[._](\d+)[._](.+)")

_ATTENTION = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0"}
_IN_BLOCK = {
    **{
        f"{wan}.{letter}": f"{theirs}.{name}"
        for wan, theirs in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for letter, name in _ATTENTION.items()
    },
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}
"""The linear layers of a block: as the model names them, and as diffusers does."""

_OUTSIDE = {
    "patch_embedding": "patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "head.head": "proj_out",
}


def _every_spelling(names: dict[str, str]) -> dict[str, str]:
    """Return the model's own name by each of its spellings, dotted or with underscores."""
    dotted = {spelt: wan for wan, theirs in names.items() for spelt in (wan, theirs)}
    return dotted | {spelt.replace(".", "_"): wan for spelt, wan in dotted.items()}


_TO_WAN_IN_BLOCK, _TO_WAN_OUTSIDE = _every_spelling(_IN_BLOCK), _every_spelling(_OUTSIDE)


@dataclass(frozen=True, slots=True)
class Name:
    """What a tensor's name means. module: in the model's own words, "blocks.3.self_attn.q"."""

    module: str
    part: Part


def split(name: str) -> tuple[str, Part] | None:
    """Return the stem of a tensor's name and which part of its module it is; None: no LoRA's."""
    match = TENSOR.fullmatch(name)
    if match is None:
        return None
    if match["alpha"]:
        return match["stem"], "alpha"
    return match["stem"], "down" if match["matrix"] in {"A", "down"} else "up"


def parse(name: str) -> Name | None:
    """Return what a tensor's name means, in whichever spelling; None when nobody knows.

    >>> parse("transformer.blocks.3.attn1.to_q.lora_A.weight")
    Name(module='blocks.3.self_attn.q', part='down')
    """
    parts = split(name)
    module = _module(parts[0]) if parts else None
    return Name(module, parts[1]) if parts and module else None


def named(name: Name, spelling: Spelling) -> str:
    """Return the name of a tensor in a spelling.

    >>> named(Name("blocks.3.self_attn.q", "up"), "lora_unet")
    'lora_unet_blocks_3_self_attn_q.lora_up.weight'
    """
    flat = spelling == "lora_unet"
    match name.part:
        case "alpha":
            end = "alpha"
        case "down":
            end = "lora_down.weight" if flat else "lora_A.weight"
        case "up":
            end = "lora_up.weight" if flat else "lora_B.weight"
    module = _diffusers(name.module) if spelling == "transformer" else name.module
    stem = f"lora_unet_{module.replace('.', '_')}" if flat else f"{spelling}.{module}"
    return f"{stem}.{end}"


def within_block(stem: str) -> tuple[int | None, str]:
    """Return the block of a module and its name in it, in the model's own words where known."""
    module = _module(stem) or stem
    match = BLOCK.search(module)
    return (int(match[1]), match[2]) if match else (None, module)


def _module(stem: str) -> str | None:
    for prefix in ("base_model.model.", *PREFIXES):
        stem = stem.removeprefix(prefix)
    match = BLOCK.fullmatch(stem)
    if match is None:
        return _TO_WAN_OUTSIDE.get(stem)
    inner = _TO_WAN_IN_BLOCK.get(match[2])
    return inner and f"blocks.{match[1]}.{inner}"


def _diffusers(module: str) -> str:
    match = BLOCK.fullmatch(module)
    return f"blocks.{match[1]}.{_IN_BLOCK[match[2]]}" if match else _OUTSIDE[module]
