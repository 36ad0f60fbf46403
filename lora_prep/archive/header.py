"""Read the header of a safetensors file, from the disk or from far away, and prove its structure.

The format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape,
data_offsets}}, then the tensors, contiguous from offset 0 to the end of the file
(huggingface/safetensors, README "Format"). Truncation, padding, an HTML page or an XML error
saved as .safetensors all break one of these rules.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lora_prep.errors import LoraInvalid

__all__ = [
    "ITEM_BYTES",
    "LENGTH",
    "Header",
    "ReadAt",
    "Tensor",
    "invalid",
    "read_header",
    "reading",
]

LENGTH = struct.Struct("<Q")
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library itself
ITEM_BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2,
    "I16": 2, "U16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip

ReadAt = Callable[[int, int], bytes]
"""Takes an offset and a length in bytes; gives these bytes, fewer at the end of the file."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor. begin, end: bytes, counted from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def item_bytes(self) -> int:
        """Size of one number."""
        return ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file holds.

    tensors: in the order of their bytes; data_at: where those begin.
    """

    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, Any]
    data_at: int


def reading(path: Path) -> ReadAt:
    """Return a reader of a file on disk."""

    def read_at(offset: int, length: int) -> bytes:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(length)

    return read_at


def read_header(read_at: ReadAt, size_bytes: int) -> Header:
    """Read and check a header; only the header is read.

    Raises:
        LoraInvalid: it is none, or does not fit a file of `size_bytes`; it says why.
    """
    start = read_at(0, LENGTH.size)
    if len(start) < LENGTH.size:
        invalid(f"it has only {size_bytes} bytes")
    (length,) = LENGTH.unpack(start)
    if length > min(MAX_HEADER_BYTES, size_bytes - LENGTH.size):
        invalid("it does not begin with a safetensors header")
    entries = _parsed(read_at(LENGTH.size, length))
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        invalid("its metadata is no JSON object")
    if not entries:
        invalid("its header names no tensor")
    data_at = LENGTH.size + length
    tensors = sorted(
        (_tensor(name, entry) for name, entry in entries.items()),
        key=lambda tensor: (tensor.begin, tensor.end),
    )
    _check_contiguous(tensors, size_bytes - data_at)
    return Header(tuple(tensors), metadata, data_at)


def invalid(why: str) -> NoReturn:
    """Raise what is wrong with a file.

    Raises:
        LoraInvalid: always.
    """
    raise LoraInvalid(
        "The file is not a whole LoRA.",
        why=f"Checked as safetensors: {why}.",
        fix="Download it again; the provider keeps it for 7 days.",
    )


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):  # no UTF-8, no JSON, a name twice
        invalid("its header is no JSON")
    if not isinstance(header, dict):
        invalid("its header names no tensor")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice: readers differ in which one they take."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a name stands twice")
    return unique


def _tensor(name: str, entry: object) -> Tensor:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if (
            dtype in ITEM_BYTES and all(type(side) is int and side >= 0 for side in shape)
        ):
            if end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
                invalid(f"the length of {name} does not fit its shape")
            return Tensor(name, dtype, tuple(shape), begin, end)
    invalid(f"the entry of {name} is malformed")


def _check_contiguous(tensors: list[Tensor], data_bytes: int) -> None:
    expected = 0
    for tensor in tensors:
        if tensor.begin != expected:
            invalid(f"the bytes of {tensor.name} do not follow the tensor before it")
        expected = tensor.end
    if expected != data_bytes:
        invalid(f"it should hold {expected} bytes of tensors and holds {data_bytes}")
