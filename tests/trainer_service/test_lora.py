"""The LoRA file: sizes by formula, content by the real safetensors library."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from lora_prep.trainer_service.lora import _header, _tensors, write_zero_lora


def write(path: Path, *, rank: int = 2, blocks: int = 1, seed: int = 1) -> Path:
    metadata = {"rehearsal": "true", "trigger_word": 'p3r5on "Zoë"'}
    write_zero_lora(path, rank=rank, blocks=blocks, seed=seed, metadata=metadata)
    return path


@pytest.mark.parametrize(("rank", "megabytes"), [(16, 153.4), (32, 306.7), (64, 613.4)])
def test_a_whole_wan_14b_lora_has_the_size_that_is_known(rank: int, megabytes: float) -> None:
    tensors = _tensors(rank, blocks=40)
    assert len(tensors) == 2 * 400
    assert round(sum(tensor.size_bytes for tensor in tensors) / 1e6, 1) == megabytes


def test_rank_32_has_the_size_of_the_files_people_share() -> None:
    # 306,807,976 bytes, seen repeatedly; each of the 800 tensors there says BF16, one letter more.
    tensors = _tensors(32, blocks=40)
    size = len(_header(tensors, {})) + sum(tensor.size_bytes for tensor in tensors)
    assert size + 800 == 306_807_976


def test_safetensors_opens_it_and_every_pair_fits(tmp_path: Path) -> None:
    shapes = {
        **{
            f"{attention}.{name}": (5120, 5120)
            for attention in ("self_attn", "cross_attn")
            for name in "qkvo"
        },
        "ffn.0": (5120, 13824),
        "ffn.2": (13824, 5120),
    }
    with safe_open(write(tmp_path / "a.safetensors", blocks=2), framework="np") as file:
        assert file.metadata() == {
            "format": "pt",
            "rehearsal": "true",
            "trigger_word": 'p3r5on "Zoë"',
        }
        assert len(list(file.keys())) == 2 * 2 * len(shapes)
        for block in range(2):
            for linear, (inputs, outputs) in shapes.items():
                stem = f"diffusion_model.blocks.{block}.{linear}"
                a = file.get_tensor(f"{stem}.lora_A.weight")
                b = file.get_tensor(f"{stem}.lora_B.weight")
                assert (a.shape, b.shape) == ((2, inputs), (outputs, 2))
                assert a.dtype == b.dtype == np.float16
                assert not b.any()
                assert 0.9 < np.abs(a).max() * np.sqrt(inputs) <= 1.001


def test_the_bytes_are_laid_out_as_the_format_says(tmp_path: Path) -> None:
    content = write(tmp_path / "a.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    header = json.loads(content[8 : 8 + length])
    del header["__metadata__"]
    assert list(header) == sorted(header)
    offsets = [tensor["data_offsets"] for tensor in header.values()]
    assert [start for start, _ in offsets] == [0, *(end for _, end in offsets[:-1])]
    assert 8 + length + offsets[-1][1] == len(content)


def test_one_seed_gives_one_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "outputs"
    folder.mkdir()
    first, again, other = (
        write(folder / name, seed=seed).read_bytes()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b", "c"]


def test_a_full_disk_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
