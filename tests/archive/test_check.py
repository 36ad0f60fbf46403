"""A LoRA is whole or it is refused, whatever broke it."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_prep.archive import check_file, check_lora
from lora_prep.errors import LoraBroken, LoraInvalid
from tests.archive.lora_files import lora, safetensors, with_header
from tests.sample import examples

WHOLE = lora(rank=2, blocks=3, rehearsal="true")


def check(data: bytes, folder: Path) -> object:
    path = folder / "x.safetensors"
    path.write_bytes(data)
    return check_lora(path)


def test_facts_are_read_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(WHOLE)
    facts = check_lora(path)
    assert facts.sha256 == hashlib.sha256(WHOLE).hexdigest()
    assert (facts.size_bytes, facts.rank, facts.blocks, facts.tensors) == (len(WHOLE), 2, 3, 6)
    assert (facts.spelling, facts.dtype, facts.rehearsal) == ("diffusion_model", "F16", True)


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("transformer.blocks.0.attn1.to_q.lora_{}.weight", "transformer"),
        ("lora_unet_blocks_0_self_attn_q.lora_{}.weight", "lora_unet"),
        ("blocks.0.q.lora_{}.weight", "unknown"),
    ],
)
def test_the_spellings_of_other_trainers(name: str, spelling: str, tmp_path: Path) -> None:
    down, up = ("down", "up") if spelling == "lora_unet" else ("A", "B")
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors({name.format(down): (4, 8), name.format(up): (8, 4)}))
    facts = check_lora(path)
    assert (facts.spelling, facts.rank, facts.blocks, facts.rehearsal) == (spelling, 4, 1, False)


A, B = "diffusion_model.blocks.0.q.lora_A.weight", "diffusion_model.blocks.0.q.lora_B.weight"
ENTRY = {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0 bytes"),
        (WHOLE[:5], "5 bytes"),
        (WHOLE[:-1], "should hold"),
        (WHOLE[: len(WHOLE) // 2], "does not begin"),
        (WHOLE + b"\0", "should hold"),
        (b"<html><body>Not found</body></html>", "does not begin"),
        (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "does not begin"),
        (struct.pack("<Q", 1 << 62) + b"{}", "does not begin"),
        (struct.pack("<Q", 3) + b"xyz", "no JSON"),
        (with_header([], b""), "names no tensor"),
        (with_header({"__metadata__": {"a": "b"}}, b""), "names no tensor"),
        (with_header({"__metadata__": 3, A: ENTRY}, bytes(8)), "metadata"),
        (with_header({A: {**ENTRY, "dtype": "F17"}}, bytes(8)), "malformed"),
        (with_header({A: {**ENTRY, "shape": [2, -2]}}, bytes(8)), "malformed"),
        (with_header({A: 3}, bytes(8)), "malformed"),
        (with_header({A: {**ENTRY, "shape": [2, 3]}}, bytes(8)), "does not fit its shape"),
        (with_header({A: {**ENTRY, "data_offsets": [8, 16]}}, bytes(16)), "do not follow"),
        (with_header({A: ENTRY, B: ENTRY}, bytes(8)), "do not follow"),
        (safetensors({A: (2, 8)}), "only one of its two"),
        (safetensors({A: (2, 8), B: (8, 3)}), "different ranks"),
        (safetensors({"some.weight": (2, 8)}), "no LoRA matrices"),
    ],
)
def test_whatever_is_broken_is_named(data: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(LoraInvalid) as raised:
        check(data, tmp_path)
    assert why in raised.value.why


@examples(100)
@given(st.data())
def test_no_damage_to_the_header_crashes_the_check(data: st.DataObject) -> None:
    import tempfile

    damaged = bytearray(WHOLE)
    header_end = 8 + struct.unpack("<Q", WHOLE[:8])[0]
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, header_end - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        try:
            check(bytes(damaged), Path(folder))
        except LoraInvalid as error:
            assert error.why


def filled(value: bytes, dtype: str, where: str = "lora_B") -> bytes:
    """A LoRA of one module whose A or B ends with this number; the other numbers are one."""
    one = {"F16": b"\x00\x3c", "BF16": b"\x80\x3f", "F32": b"\x00\x00\x80\x3f"}[dtype]
    size = len(one) * 4
    header, data = {}, b""
    for number, part in enumerate(("lora_A", "lora_B")):
        span = [number * size, (number + 1) * size]
        name = f"diffusion_model.blocks.0.ffn.0.{part}.weight"
        header[name] = {"dtype": dtype, "shape": [2, 2], "data_offsets": span}
        data += one * 3 + (value if part == where else one)
    return with_header(header, data)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (b"\x00\x7e", "F16"), (b"\x00\xfe", "F16"), (b"\x00\x7c", "F16"), (b"\x00\xfc", "F16"),
        (b"\xc0\x7f", "BF16"), (b"\x80\xff", "BF16"),
        (b"\x00\x00\xc0\x7f", "F32"), (b"\x00\x00\x80\xff", "F32"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["lora_A", "lora_B"])
def test_a_number_that_is_none_breaks_a_lora(
    value: bytes, dtype: str, where: str, tmp_path: Path
) -> None:
    with pytest.raises(LoraBroken, match="NaN or infinity") as raised:
        check(filled(value, dtype, where), tmp_path)
    assert where in raised.value.why
    assert not raised.value.retryable


@pytest.mark.parametrize("value", [b"\xff\x7b", b"\xff\xfb", b"\x00\x80", b"\x01\x00"])
def test_the_largest_the_smallest_and_minus_zero_are_numbers(value: bytes, tmp_path: Path) -> None:
    assert check(filled(value, "F16"), tmp_path)


ZERO_UP = safetensors({A: (2, 8), B: (8, 2)})[: -8 * 2 * 2] + bytes(8 * 2 * 2)


def test_a_lora_that_changes_nothing_is_broken_and_a_rehearsal_is_not(tmp_path: Path) -> None:
    with pytest.raises(LoraBroken, match="changes nothing"):
        check(ZERO_UP, tmp_path)
    minus = ZERO_UP[: -8 * 2 * 2] + b"\x00\x80" * 16
    with pytest.raises(LoraBroken, match="changes nothing"):
        check(minus, tmp_path)
    rehearsal = safetensors({A: (2, 8), B: (8, 2)}, {"rehearsal": "true"})[: -8 * 2 * 2] + bytes(32)
    path = tmp_path / "x.safetensors"
    path.write_bytes(rehearsal)
    assert check_lora(path).rehearsal


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b"PK\x03\x04" + bytes(99), True),
        (b"\x80\x02}q\x00.", True),
        (b"GGUF" + bytes(99), True),
        (b"<html></html>", False),
        (b"", False),
    ],
)
def test_another_format_is_told_from_a_page(data: bytes, kept: bool, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    if not kept:
        with pytest.raises(LoraInvalid):
            check_file(path)
        return
    facts = check_file(path)
    assert (facts.verified, facts.rank) == (False, None)
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    assert "unverified" in facts.words


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    entry = '{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}'
    text = f'{{"{A}":{entry},"{A}":{entry}}}'.encode()
    with pytest.raises(LoraInvalid, match="no JSON"):
        check(struct.pack("<Q", len(text)) + text + bytes(8), tmp_path)
