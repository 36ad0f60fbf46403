"""Small safetensors files, well-formed and not, made by hand so that any rule can be broken."""

from __future__ import annotations

import json
import struct
from typing import Any

ONE = struct.pack("<e", 1.0)


def safetensors(
    tensors: dict[str, tuple[int, int]], metadata: dict[str, str] | None = None
) -> bytes:
    """Return a safetensors file of F16 ones with these shapes."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, (rows, columns) in tensors.items():
        size = rows * columns * 2
        header[name] = {"dtype": "F16", "shape": [rows, columns], "data_offsets": [at, at + size]}
        at += size
    return with_header(header, ONE * (at // 2))


def with_header(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def lora(rank: int = 2, blocks: int = 2, **metadata: str) -> bytes:
    tensors = {}
    for block in range(blocks):
        name = f"diffusion_model.blocks.{block}.self_attn.q"
        tensors[f"{name}.lora_A.weight"] = (rank, 8)
        tensors[f"{name}.lora_B.weight"] = (8, rank)
    return safetensors(tensors, metadata)
