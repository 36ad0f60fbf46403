"""Check a LoRA file without torch: the safetensors structure, and what its header says.

The format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape,
data_offsets}}, then the tensors, contiguous from offset 0 to the end of the file
(huggingface/safetensors, README "Format"). Truncation, padding, an HTML page or an XML error
saved as .safetensors all break one of these rules.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from pathlib import Path
from typing import Any, NoReturn

from lora_prep.errors import LoraInvalid
from lora_prep.model import LoraFacts, Spelling

__all__ = ["check_lora"]

LENGTH = struct.Struct("<Q")
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library itself
ITEM_BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2,
    "U16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip

SPELLINGS: dict[str, Spelling] = {
    "diffusion_model.": "diffusion_model",
    "transformer.": "transformer",
    "lora_unet_": "lora_unet",
}
DOWN = re.compile(r"(.*)[._]lora_(?:A|down)\.weight")
UP = re.compile(r"(.*)[._]lora_(?:B|up)\.weight")
BLOCK = re.compile(r"blocks[._](\d+)[._]")


def check_lora(path: Path) -> LoraFacts:
    """Prove that a file is a whole, well-formed LoRA and return what it says of itself.

    Every tensor's bytes follow the last one's and the end is the end of the file; every A matrix
    has its B and all ranks agree. The whole file is read once for its SHA-256.

    Raises:
        LoraInvalid: any of this does not hold; it says which.
    """
    size = path.stat().st_size
    header, header_bytes = _read_header(path, size)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        _invalid("its metadata is no JSON object")
    _check_offsets(header, size - LENGTH.size - header_bytes)
    rank = _check_pairs(header)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return LoraFacts(
        sha256=sha256,
        size_bytes=size,
        spelling=_spelling(header),
        rank=rank,
        dtype=next(iter(header.values()))["dtype"],
        blocks=len({match[1] for name in header if (match := BLOCK.search(name))}),
        tensors=len(header),
        rehearsal=metadata.get("rehearsal") == "true",
    )


def _read_header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    with path.open("rb") as file:
        start = file.read(LENGTH.size)
        if len(start) < LENGTH.size:
            _invalid(f"it has only {size} bytes")
        (length,) = LENGTH.unpack(start)
        if length > min(MAX_HEADER_BYTES, size - LENGTH.size):
            _invalid("it does not begin with a safetensors header")
        text = file.read(length)
    try:
        header = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        _invalid("its header is no JSON")
    if not isinstance(header, dict) or not any(name != "__metadata__" for name in header):
        _invalid("its header names no tensor")
    return header, length


def _check_offsets(header: dict[str, Any], data_bytes: int) -> None:
    spans = sorted(_span(name, tensor) for name, tensor in header.items())
    expected = 0
    for begin, end, name in spans:
        if begin != expected:
            _invalid(f"the bytes of {name} do not follow the tensor before it")
        expected = end
    if expected != data_bytes:
        _invalid(f"it should hold {expected} bytes of tensors and holds {data_bytes}")


def _span(name: str, tensor: object) -> tuple[int, int, str]:
    match tensor:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if (
            dtype in ITEM_BYTES and all(type(side) is int and side >= 0 for side in shape)
        ):
            if end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
                _invalid(f"the length of {name} does not fit its shape")
        case _:
            _invalid(f"the entry of {name} is malformed")
    return begin, end, name


def _check_pairs(header: dict[str, Any]) -> int:
    """Match every A (rank, in) with its B (out, rank) and return the one rank."""
    downs = {match[1]: tensor for name, tensor in header.items() if (match := DOWN.fullmatch(name))}
    ups = {match[1]: tensor for name, tensor in header.items() if (match := UP.fullmatch(name))}
    if not downs:
        _invalid("it holds no LoRA matrices")
    if lonely := sorted(downs.keys() ^ ups.keys()):
        _invalid(f"{lonely[0]} has only one of its two matrices")
    ranks = set()
    for module, down in downs.items():
        if len(down["shape"]) < 2 or len(ups[module]["shape"]) < 2:
            _invalid(f"{module} is no matrix")
        ranks |= {down["shape"][0], ups[module]["shape"][1]}
    if len(ranks) != 1:
        _invalid(f"its matrices have {len(ranks)} different ranks")
    return int(ranks.pop())


def _spelling(header: dict[str, Any]) -> Spelling:
    for prefix, spelling in SPELLINGS.items():
        if all(name.startswith(prefix) for name in header):
            return spelling
    return "unknown"


def _invalid(why: str) -> NoReturn:
    raise LoraInvalid(
        "The trainer's file is not a whole LoRA.",
        why=f"Checked as safetensors: {why}.",
        fix="Download it again; the provider keeps it for 7 days.",
    )
