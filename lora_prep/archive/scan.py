"""One pass over a file: its SHA-256, that of its tensors, and numbers that are none or all zero."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_prep.archive.header import Header, Tensor, invalid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EXACT", "Scan", "scan", "scan_chunks", "to_floats"]

CHUNK_BYTES = 1 << 20  # in the cache of the processor; a multiple of every item's size
ALONE_BYTES = 1 << 16  # a piece below this is hashed sooner than handed to another thread
FORMATS = {
    "F64": ("u8", (1 << 63) - 1, 0x7FF << 52),
    "F32": ("u4", 0x7FFFFFFF, 0x7F800000),
    "F16": ("u2", 0x7FFF, 0x7C00),
    "BF16": ("u2", 0x7FFF, 0x7F80),
    "F8_E4M3": ("u1", 0x7F, 0x7F),
    "F8_E5M2": ("u1", 0x7F, 0x7C),
}
"""By dtype: how to read its bits, all of them but the sign, and the least that is no finite number
(IEEE 754; for the 8-bit formats the OCP specification 1.0: E4M3 has one NaN and no infinity)."""


EXACT = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass found. not_finite and zero: names of tensors; alphas: values by name."""

    sha256: str
    tensor_sha256: str | None
    not_finite: tuple[str, ...]
    zero: frozenset[str]
    alphas: dict[str, float]


def scan(path: Path, header: Header, *, tensor_hash: bool = True) -> Scan:
    """Read a file once.

    tensor_hash: also hash the tensors alone, in a thread of its own.

    Raises:
        LoraInvalid: the file has become shorter.
    """
    whole = hashlib.sha256()
    judge = _Judge()
    with path.open("rb", buffering=0) as file, _Second(wanted=tensor_hash) as second:
        whole.update(file.read(header.data_at))
        for tensor, piece in scan_chunks(file, header):
            second.update(piece)
            whole.update(piece)
            judge.look(tensor, piece)
            second.wait()
    return Scan(
        whole.hexdigest(),
        second.hexdigest,
        tuple(judge.not_finite),
        frozenset(judge.zero - judge.other),
        judge.alphas,
    )


def scan_chunks(file: FileIO, header: Header) -> Iterator[tuple[Tensor, memoryview]]:
    """Yield the tensors' bytes in pieces of whole numbers, each valid until the next one.

    Raises:
        LoraInvalid: the file has become shorter.
    """
    buffer = memoryview(bytearray(CHUNK_BYTES))
    file.seek(header.data_at)
    for tensor in header.tensors:
        at = tensor.begin
        while at < tensor.end:
            piece = buffer[: min(CHUNK_BYTES, tensor.end - at)]
            _read_whole(file, piece)
            at += len(piece)
            yield tensor, piece


def _read_whole(file: FileIO, piece: memoryview) -> None:
    filled = 0
    while filled < len(piece):
        count = file.readinto(piece[filled:])
        if not count:
            invalid("it ends before its header says")
        filled += count


class _Judge:
    """Looks at every number once."""

    def __init__(self) -> None:
        import numpy as np

        self._masked = np.empty(CHUNK_BYTES, dtype=np.uint8)
        self.not_finite: dict[str, None] = {}  # a set that keeps its order
        self.zero: set[str] = set()
        self.other: set[str] = set()
        self.alphas: dict[str, float] = {}

    def look(self, tensor: Tensor, piece: memoryview) -> None:
        import numpy as np

        kind, mask, limit = FORMATS.get(tensor.dtype, ("u1", 0xFF, 0x100))
        bits: NDArray[Any] = np.frombuffer(piece, dtype=f"<{kind}")
        masked = self._masked[: len(piece)].view(bits.dtype)
        np.bitwise_and(bits, bits.dtype.type(mask), out=masked)
        largest = int(masked.max())
        if largest >= limit:
            self.not_finite[tensor.name] = None
        (self.other if largest else self.zero).add(tensor.name)
        if len(piece) == tensor.item_bytes and tensor.name.endswith(".alpha"):
            self.alphas[tensor.name] = float(to_floats(tensor.dtype, piece)[0])


def to_floats(dtype: str, data: bytes | memoryview) -> NDArray[np.floating[Any]]:
    """Return numbers as floats that hold them exactly.

    Raises:
        LoraInvalid: numbers of this dtype are not calculated with here.
    """
    import numpy as np

    if dtype == "BF16":
        return (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    if dtype not in EXACT:
        invalid(f"numbers of type {dtype} are not calculated with")
    return np.frombuffer(data, dtype=EXACT[dtype])


class _Second:
    """A second hash that is counted beside the first one, on another core."""

    def __init__(self, *, wanted: bool) -> None:
        self._digest = hashlib.sha256() if wanted else None
        self._pool = ThreadPoolExecutor(1) if wanted else None
        self._going: Future[None] | None = None

    def __enter__(self) -> _Second:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._pool:
            self._pool.shutdown()

    def update(self, piece: memoryview) -> None:
        if self._digest is None or self._pool is None:
            return
        if len(piece) < ALONE_BYTES:
            self._digest.update(piece)
        else:
            self._going = self._pool.submit(self._digest.update, piece)

    def wait(self) -> None:
        if self._going:
            self._going.result()
            self._going = None

    @property
    def hexdigest(self) -> str | None:
        return self._digest.hexdigest() if self._digest else None
