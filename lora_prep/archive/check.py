"""Check a LoRA file without torch: its structure, what its names say, and every number in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lora_prep.archive.header import Header, ReadAt, Tensor, invalid, read_header, reading
from lora_prep.archive.scan import Scan, scan, to_floats
from lora_prep.archive.spelling import PREFIXES, Part, split, within_block
from lora_prep.errors import LoraBroken
from lora_prep.model import LoraFacts, Spelling

__all__ = ["check_file", "check_header", "check_lora", "foreign_format"]

NEEDED_BYTES = 64  # enough to tell what a file begins as
FOREIGN = {
    b"PK\x03\x04": "zip",  # torch's own .pt among them
    b"\x80\x02": "pickle",
    b"\x80\x03": "pickle",
    b"\x80\x04": "pickle",
    b"\x80\x05": "pickle",
    b"GGUF": "gguf",
    b"\x1f\x8b": "gzip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x28\xb5\x2f\xfd": "zstandard",
}

Modules = Mapping[str, Mapping[Part, Tensor]]
"""By stem of the tensors' names: the two matrices of a module, and its alpha where it has one."""


@dataclass(frozen=True, slots=True)
class _Named:
    """What the names and shapes of a file say."""

    modules: Modules
    rank: int
    spelling: Spelling


def check_file(path: Path) -> LoraFacts:
    """Check a trainer's file: a LoRA as `check_lora` does; another format is kept unverified.

    Raises:
        LoraInvalid: it is neither a whole LoRA nor a file of a known format.
    """
    with path.open("rb") as file:
        if foreign_format(file.read(NEEDED_BYTES)) is None:
            return check_lora(path)
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return LoraFacts(
        sha256, path.stat().st_size, "unknown", None, "", 0, 0, rehearsal=False, verified=False
    )


def foreign_format(head: bytes) -> str | None:
    """Return the format of a file that is no safetensors, by its first bytes; None: none known."""
    return next((kind for magic, kind in FOREIGN.items() if head.startswith(magic)), None)


def check_lora(path: Path) -> LoraFacts:
    """Prove that a file is a whole, well-formed LoRA that changes something, and describe it.

    Every tensor's bytes follow the last one's and the end is the end of the file; every A matrix
    has its B of the same rank; no number is NaN or infinite, and not every product is zero. A
    rehearsal, which says so in its metadata, may be zero. The whole file is read once.

    Raises:
        LoraInvalid: any of this does not hold; it says which.
        LoraBroken: it is whole, but its numbers are none or all zero.
    """
    size_bytes = path.stat().st_size
    header = read_header(reading(path), size_bytes)
    names = _named(header)
    facts = _described(header, names, size_bytes)
    found = scan(path, header)
    _check_numbers(found, names.modules, rehearsal=facts.rehearsal)
    return replace(
        facts,
        sha256=found.sha256,
        tensor_sha256=found.tensor_sha256,
        alpha=_one_alpha(names.modules, lambda alpha: found.alphas.get(alpha.name)),
    )


def check_header(read_at: ReadAt, size_bytes: int) -> LoraFacts:
    """Check all that the header tells, of a file that may be far away; its numbers are not read.

    The facts have no hashes. Of the alphas only the first one is read.

    Raises:
        LoraInvalid: it is no whole LoRA.
    """
    header = read_header(read_at, size_bytes)
    names = _named(header)
    first = next((parts["alpha"] for parts in names.modules.values() if "alpha" in parts), None)
    alpha = None
    if first and first.end - first.begin == first.item_bytes:
        data = read_at(header.data_at + first.begin, first.item_bytes)
        alpha = float(to_floats(first.dtype, data)[0])
    return replace(_described(header, names, size_bytes), alpha=alpha)


def _described(header: Header, names: _Named, size_bytes: int) -> LoraFacts:
    places = [within_block(stem) for stem in names.modules]
    largest = max(header.tensors, key=lambda tensor: tensor.end - tensor.begin)
    return LoraFacts(
        sha256="",
        size_bytes=size_bytes,
        spelling=names.spelling,
        rank=names.rank,
        dtype=largest.dtype,
        blocks=len({block for block, _ in places if block is not None}),
        tensors=len(header.tensors),
        rehearsal=header.metadata.get("rehearsal") == "true",
        modules=tuple(sorted({module for _, module in places})),
    )


def _named(header: Header) -> _Named:
    """Match every A (rank, in) with its B (out, rank)."""
    modules: dict[str, dict[Part, Tensor]] = {}
    for tensor in header.tensors:
        if parts := split(tensor.name):
            modules.setdefault(parts[0], {})[parts[1]] = tensor
    if not modules:
        invalid("it holds no LoRA matrices")
    ranks = [_rank(stem, parts) for stem, parts in modules.items()]
    return _Named(modules, max(ranks), _spelling(header))


def _rank(stem: str, parts: Mapping[Part, Tensor]) -> int:
    if "down" not in parts or "up" not in parts:
        invalid(f"{stem} has only one of its two matrices")
    down, up = parts["down"].shape, parts["up"].shape
    if len(down) < 2 or len(up) < 2:
        invalid(f"{stem} is no matrix")
    if down[0] != up[1] or down[0] == 0:
        invalid(f"the two matrices of {stem} have different ranks, {down[0]} and {up[1]}")
    return down[0]


def _spelling(header: Header) -> Spelling:
    for prefix, spelling in PREFIXES.items():
        if all(tensor.name.startswith(prefix) for tensor in header.tensors):
            return spelling
    return "unknown"


def _check_numbers(found: Scan, modules: Modules, *, rehearsal: bool) -> None:
    if found.not_finite:
        count, first = len(found.not_finite), found.not_finite[0]
        raise _broken(f"{count} of its tensors hold NaN or infinity, {first} is the first")
    changes = any(
        not ({tensor.name for tensor in parts.values()} & found.zero) for parts in modules.values()
    )
    if not changes and not rehearsal:
        raise _broken("in every module a matrix is zero, so it changes nothing")


def _broken(why: str) -> LoraBroken:
    return LoraBroken(
        "The LoRA is useless.",
        why=f"The file is whole, but {why}.",
        fix="The training went wrong: tell the provider, and train it again.",
    )


def _one_alpha(modules: Modules, value_of: Callable[[Tensor], float | None]) -> float | None:
    alphas = {value_of(parts["alpha"]) for parts in modules.values() if "alpha" in parts}
    every = all("alpha" in parts for parts in modules.values())
    return alphas.pop() if every and len(alphas) == 1 else None
