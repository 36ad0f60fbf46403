"""A LoRA for Wan 14B that changes nothing: `lora_B` is zero, so B·A adds zero to every weight.

It is what PEFT makes before the first training step. Written straight to the disk, tensor by
tensor: a rank-32 file is 307 MB and never in memory.

The format is safetensors: a little-endian 8-byte length, a JSON header, the tensors end to end
(https://github.com/huggingface/safetensors, "Format"). The spelling is the model's own,
`diffusion_model.blocks.N...lora_A.weight`, which ComfyUI and diffusers both load.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

__all__ = ["WAN_14B_BLOCKS", "write_zero_lora"]

WAN_14B_BLOCKS: Final = 40
DIM: Final = 5120
FFN_DIM: Final = 13824
LINEARS: Final[Mapping[str, tuple[int, int]]] = {  # name in a block: (inputs, outputs)
    **{
        f"{attention}.{projection}": (DIM, DIM)
        for attention in ("self_attn", "cross_attn")
        for projection in ("q", "k", "v", "o")
    },
    "ffn.0": (DIM, FFN_DIM),
    "ffn.2": (FFN_DIM, DIM),
}
FP16_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One matrix of the file: rows x columns of fp16; A is [rank, inputs], B [outputs, rank]."""

    name: str
    rows: int
    columns: int

    @property
    def size_bytes(self) -> int:
        return self.rows * self.columns * FP16_BYTES


def write_zero_lora(
    path: Path, *, rank: int, blocks: int, seed: int, metadata: Mapping[str, str]
) -> None:
    """Write the file beside `path` and rename it: at `path` there is a whole file or none.

    lora_A is uniform within 1/sqrt(inputs), PEFT's start (`kaiming_uniform_(a=sqrt(5))`); the same
    seed gives the same bytes.
    """
    tensors = _tensors(rank, blocks)
    random = np.random.default_rng(seed)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(_header(tensors, metadata))
            for tensor in tensors:
                file.write(_content(tensor, random))
            file.flush()
            os.fsync(file.fileno())  # the task table will call it complete, also after a power cut
        part.replace(path)
    except BaseException:  # on a full disk the part would take the room that the task table needs
        part.unlink(missing_ok=True)
        raise


def _tensors(rank: int, blocks: int) -> list[_Tensor]:
    tensors = []
    for block in range(blocks):
        for linear, (inputs, outputs) in LINEARS.items():
            stem = f"diffusion_model.blocks.{block}.{linear}"
            tensors.append(_Tensor(f"{stem}.lora_A.weight", rank, inputs))
            tensors.append(_Tensor(f"{stem}.lora_B.weight", outputs, rank))
    return sorted(tensors, key=lambda tensor: tensor.name)


def _header(tensors: list[_Tensor], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt", **metadata}}
    start = 0
    for tensor in tensors:
        end = start + tensor.size_bytes
        shape = [tensor.rows, tensor.columns]
        header[tensor.name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8, for memory maps
    return len(text).to_bytes(8, "little") + text


def _content(tensor: _Tensor, random: np.random.Generator) -> bytes:
    if tensor.name.endswith("lora_B.weight"):
        return bytes(tensor.size_bytes)
    bound = 1 / math.sqrt(tensor.columns)
    unit = random.random((tensor.rows, tensor.columns), dtype=np.float32)
    return ((unit * 2 - 1) * bound).astype("<f2").tobytes()
