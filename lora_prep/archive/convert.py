"""Rewrite a LoRA in another spelling: the same numbers under other names, tensor by tensor.

A rename loses nothing. Where the new spelling has no alpha, the A matrix is multiplied by alpha /
rank, which is what a loader would have done; that is exact where the quotient is a power of two,
and else rounded once to the file's own type. Where it must have an alpha and there was none, it is
the rank, which changes nothing. Memory stays flat, whatever the size of the file.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from lora_prep.archive.check import check_header
from lora_prep.archive.header import LENGTH, Header, Tensor, read_header, reading
from lora_prep.archive.scan import EXACT, scan_chunks, to_floats
from lora_prep.archive.spelling import Name, named, parse
from lora_prep.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Converted", "Target", "convert_lora"]

Target = Literal["diffusion_model", "transformer", "lora_unet"]
WITH_ALPHA = "lora_unet"
STALE = ("modelspec.hash", "sshs_")  # hashes of the tensors as they were
ALPHA_DTYPE = "F32"


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written. folded: alpha was multiplied in; exact: no number was rounded for it."""

    tensors: int
    folded: bool
    exact: bool


@dataclass(frozen=True, slots=True)
class _Module:
    """One module of the file. alpha: None where it has none; rank: of its matrices."""

    alpha: float | None
    rank: int

    @property
    def scale(self) -> float:
        return 1.0 if self.alpha is None else self.alpha / self.rank


def convert_lora(path: Path, output: Path, target: Target) -> Converted:
    """Write `path` to `output` in another spelling; the file is whole or absent.

    Raises:
        LoraInvalid: it is no whole safetensors file.
        ConfigurationError: a name in it has no counterpart, or `output` exists already.
    """
    if output.exists():
        raise ConfigurationError(
            f"{output} exists already.",
            why="Nothing is overwritten.",
            fix="Give another name, or move it away.",
        )
    check_header(reading(path), path.stat().st_size)
    header = read_header(reading(path), path.stat().st_size)
    names = {tensor.name: _named(tensor, path) for tensor in header.tensors}
    modules = _modules(path, header, names)
    part = output.with_name(f"{output.name}.part")
    try:
        with path.open("rb", buffering=0) as source, part.open("wb") as file:
            exact = _write(source, file, header, names, modules, target)
            file.flush()
            os.fsync(file.fileno())
        part.replace(output)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    kept = sum(name.part != "alpha" for name in names.values())
    had_alpha = any(module.alpha is not None for module in modules.values())
    return Converted(
        tensors=kept + (len(modules) if target == WITH_ALPHA else 0),
        folded=had_alpha and target != WITH_ALPHA,
        exact=exact,
    )


def _named(tensor: Tensor, path: Path) -> Name:
    if name := parse(tensor.name):
        return name
    raise ConfigurationError(
        f"{path.name} cannot be converted.",
        why=f"Its tensor {tensor.name} is none that a Wan LoRA is known to have.",
        fix="Convert it with the tools of the trainer it is from.",
    )


def _modules(path: Path, header: Header, names: Mapping[str, Name]) -> dict[str, _Module]:
    alphas: dict[str, float] = {}
    ranks: dict[str, int] = {}
    read_at = reading(path)
    for tensor in header.tensors:
        name = names[tensor.name]
        if name.part == "alpha":
            data = read_at(header.data_at + tensor.begin, tensor.item_bytes)
            alphas[name.module] = float(to_floats(tensor.dtype, data)[0])
        elif name.part == "down":
            ranks[name.module] = tensor.shape[0]
    return {module: _Module(alphas.get(module), rank) for module, rank in ranks.items()}


def _write(
    source: FileIO,
    file: BinaryIO,
    header: Header,
    names: Mapping[str, Name],
    modules: Mapping[str, _Module],
    target: Target,
) -> bool:
    """Write the file and return whether no number was rounded."""
    alphas = sorted(modules) if target == WITH_ALPHA else []
    file.write(_header(header, names, alphas, target))
    for module in alphas:  # first, where 4-byte numbers are aligned
        alpha = modules[module].alpha
        file.write(struct.pack("<f", modules[module].rank if alpha is None else alpha))
    exact = True
    for tensor, piece in scan_chunks(source, header):
        name = names[tensor.name]
        if name.part == "alpha":
            continue
        scale = modules[name.module].scale if name.part == "down" else 1.0
        if target == WITH_ALPHA or scale == 1.0:
            file.write(piece)
        else:
            data, same = _scaled(tensor.dtype, piece, scale)
            file.write(data)
            exact = exact and same
    return exact


def _header(header: Header, names: Mapping[str, Name], alphas: list[str], target: Target) -> bytes:
    metadata = {
        name: value for name, value in header.metadata.items() if not name.startswith(STALE)
    }
    entries: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, dtype, shape, size in _layout(header, names, alphas, target):
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8, for memory maps
    return LENGTH.pack(len(text)) + text


def _layout(
    header: Header, names: Mapping[str, Name], alphas: list[str], target: Target
) -> Iterator[tuple[str, str, tuple[int, ...], int]]:
    """Yield name, dtype, shape and size in bytes of every tensor, in the order of the new file."""
    for module in alphas:
        yield named(Name(module, "alpha"), target), ALPHA_DTYPE, (), 4
    for tensor in header.tensors:
        name = names[tensor.name]
        if name.part != "alpha":
            yield named(name, target), tensor.dtype, tensor.shape, tensor.end - tensor.begin


def _scaled(dtype: str, piece: memoryview, scale: float) -> tuple[bytes, bool]:
    """Return numbers times a factor, in their own type, and whether none of them was rounded."""
    import numpy as np

    before = to_floats(dtype, piece).astype(np.float64)
    after = _bytes_of(dtype, before * scale)
    back = to_floats(dtype, after).astype(np.float64)
    return after, bool(np.array_equal(back, before * scale))


def _bytes_of(dtype: str, numbers: NDArray[np.float64]) -> bytes:
    """Return floats in a type, rounded to the nearest, to the even one half way."""
    if dtype != "BF16":
        return numbers.astype(EXACT[dtype]).tobytes()
    # The upper half of a 32-bit float. Adding 0x7FFF and the last kept bit rounds it.
    bits = numbers.astype("<f4").view("<u4")
    halves: NDArray[np.uint16] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return halves.tobytes()
