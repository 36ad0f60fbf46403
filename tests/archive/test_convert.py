"""A conversion changes names and nothing else; compared with the safetensors package."""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from lora_prep.archive import Target, check_lora, convert_lora
from lora_prep.archive.spelling import parse
from lora_prep.errors import ConfigurationError, LoraInvalid
from tests.archive.lora_files import lora, with_header
from tests.sample import examples

TARGETS: list[Target] = ["diffusion_model", "transformer", "lora_unet"]
LAYERS = ["self_attn.q", "self_attn.o", "cross_attn.k", "cross_attn.v_img", "ffn.0", "ffn.2"]
SPELT = {
    "diffusion_model": "diffusion_model.blocks.3.self_attn.o.lora_A.weight",
    "transformer": "transformer.blocks.3.attn1.to_out.0.lora_A.weight",
    "lora_unet": "lora_unet_blocks_3_self_attn_o.lora_down.weight",
}
Arrays = dict[str, "np.ndarray[Any, Any]"]


def effects(arrays: Arrays) -> Arrays:
    """What a loader adds to each weight: up @ down * alpha / rank; no alpha is the rank."""
    parts: dict[str, Arrays] = {}
    for name, array in arrays.items():
        known = parse(name)
        assert known is not None, name
        parts.setdefault(known.module, {})[known.part] = array.astype(np.float64)
    return {
        module: (one["up"] @ one["down"])
        * float(one.get("alpha", np.array(one["down"].shape[0]))) / one["down"].shape[0]
        for module, one in parts.items()
    }  # fmt: skip


@st.composite
def loras(draw: st.DrawFn, *, alphas: bool = True) -> Arrays:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    rank = draw(st.sampled_from([1, 2, 4, 8, 16]))
    alpha = draw(st.sampled_from([None, 0.5, 1.0, 8.0, 16.0])) if alphas else None
    modules = draw(
        st.sets(st.tuples(st.integers(0, 39), st.sampled_from(LAYERS)), min_size=1, max_size=5)
    )
    arrays: Arrays = {}
    for block, layer in sorted(modules):
        stem = f"diffusion_model.blocks.{block}.{layer}"
        wide = draw(st.integers(1, 9))
        arrays[f"{stem}.lora_A.weight"] = random.normal(1, 0.1, (rank, wide)).astype(dtype)
        arrays[f"{stem}.lora_B.weight"] = random.normal(1, 0.1, (wide, rank)).astype(dtype)
        if alpha is not None:
            arrays[f"{stem}.alpha"] = np.array(alpha, dtype=np.float32)
    return arrays


def converted(source: Path, target: Target, folder: Path, name: str) -> Path:
    output = folder / f"{name}.safetensors"
    convert_lora(source, output, target)
    return output


@examples(25)
@given(loras(), st.sampled_from(TARGETS))
def test_the_effect_on_the_model_is_the_same(arrays: Arrays, target: Target) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source = folder / "source.safetensors"
        save_file(arrays, source, metadata={"trigger_word": "p3r5on"})
        result = convert_lora(source, folder / "x.safetensors", target)
        made = load_file(folder / "x.safetensors")
        with safe_open(folder / "x.safetensors", framework="numpy") as file:
            assert file.metadata() == {"trigger_word": "p3r5on"}
        facts = check_lora(folder / "x.safetensors")
    assert facts.spelling == target
    assert (len(made), result.exact) == (result.tensors, True)  # alpha / rank: powers of two
    before, after = effects(arrays), effects(made)
    assert before.keys() == after.keys()
    for module in before:
        np.testing.assert_array_equal(before[module], after[module])


@examples(15)
@given(loras(alphas=False), st.permutations(TARGETS))
def test_there_and_back_again_gives_every_tensor_bit_by_bit(
    arrays: Arrays, way: list[Target]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = folder / "source.safetensors"
        save_file(arrays, path)
        for number, target in enumerate([*way, "diffusion_model"]):
            path = converted(path, target, folder, str(number))  # type: ignore[arg-type]
        back = load_file(path)
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].tobytes() == array.tobytes()
        assert back[name].dtype == array.dtype


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "source",
    [
        *SPELT.values(),
        "blocks.3.self_attn.o.lora_A.default.weight",
        "base_model.model.blocks.3.self_attn.o.lora_A.weight",
        "transformer.blocks.3.self_attn.o.lora_A.weight",
        "diffusion_model.blocks.3.self_attn.o.lora_down.weight",
    ],
)
def test_every_spelling_is_understood(source: str, target: Target, tmp_path: Path) -> None:
    other = source.replace("lora_A", "lora_B").replace("lora_down", "lora_up")
    save_file({source: np.ones((2, 3)), other: np.ones((3, 2))}, tmp_path / "a")
    names = load_file(converted(tmp_path / "a", target, tmp_path, "b")).keys()
    assert SPELT[target] in names
    assert any(name.endswith(".alpha") for name in names) == (target == "lora_unet")


@pytest.mark.parametrize(
    ("module", "diffusers"),
    [
        ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
        ("time_projection.1", "condition_embedder.time_proj"),
        ("head.head", "proj_out"),
        ("blocks.0.cross_attn.k_img", "blocks.0.attn2.add_k_proj"),
        ("blocks.12.ffn.0", "blocks.12.ffn.net.0.proj"),
    ],
)
def test_other_layers_have_their_names_too(module: str, diffusers: str, tmp_path: Path) -> None:
    stem = f"diffusion_model.{module}"
    arrays = {f"{stem}.lora_A.weight": np.ones((2, 3)), f"{stem}.lora_B.weight": np.ones((3, 2))}
    save_file(arrays, tmp_path / "a")
    theirs = converted(tmp_path / "a", "transformer", tmp_path, "b")
    assert f"transformer.{diffusers}.lora_A.weight" in load_file(theirs)
    flat = converted(theirs, "lora_unet", tmp_path, "c")
    assert f"lora_unet_{module.replace('.', '_')}.lora_down.weight" in load_file(flat)
    assert load_file(converted(flat, "diffusion_model", tmp_path, "d")).keys() == arrays.keys()


def test_an_alpha_that_cannot_be_folded_exactly_is_rounded_once_and_said(tmp_path: Path) -> None:
    stem = "diffusion_model.blocks.0.ffn.0"
    down = np.linspace(0.1, 1, 12, dtype=np.float16).reshape(3, 4)
    arrays = {
        f"{stem}.lora_A.weight": down,
        f"{stem}.lora_B.weight": np.ones((4, 3), np.float16),
        f"{stem}.alpha": np.array(1.0, np.float32),
    }
    save_file(arrays, tmp_path / "a")
    result = convert_lora(tmp_path / "a", tmp_path / "b", "transformer")
    assert (result.folded, result.exact) == (True, False)
    (made,) = [one for name, one in load_file(tmp_path / "b").items() if "lora_A" in name]
    np.testing.assert_array_equal(made, (down.astype(np.float64) / 3).astype(np.float16))


@examples(50)
@given(st.floats(-(2.0**100), 2.0**100, width=32), st.sampled_from([0.5, 1 / 3, 3.0]))
def test_bfloat16_is_rounded_to_the_nearest(number: float, scale: float) -> None:
    from lora_prep.archive.convert import _scaled
    from lora_prep.archive.scan import to_floats

    bits = struct.pack("<H", struct.unpack("<I", struct.pack("<f", number))[0] >> 16)
    exact = float(to_floats("BF16", bits)[0]) * scale
    data, same = _scaled("BF16", memoryview(bits), scale)
    got = float(to_floats("BF16", data)[0])
    assert same == (got == exact)
    step = abs(exact) * 2**-8 + 1e-38
    assert abs(got - exact) <= step


def test_what_has_no_counterpart_and_what_is_there_already_is_refused(tmp_path: Path) -> None:
    source, output = tmp_path / "a", tmp_path / "b"
    stem, one = "diffusion_model.blocks.0.norm", np.ones((1, 1))
    save_file({f"{stem}.lora_A.weight": one, f"{stem}.lora_B.weight": one}, source)
    with pytest.raises(ConfigurationError, match="cannot be converted"):
        convert_lora(source, output, "lora_unet")
    source.write_bytes(lora())
    output.write_bytes(b"mine")
    with pytest.raises(ConfigurationError, match="exists already"):
        convert_lora(source, output, "lora_unet")
    assert output.read_bytes() == b"mine"
    source.write_bytes(lora()[:-1])
    with pytest.raises(LoraInvalid):
        convert_lora(source, tmp_path / "c", "lora_unet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_hashes_of_the_old_tensors_do_not_travel_along(tmp_path: Path) -> None:
    stale = {"sshs_model_hash": "1", "modelspec.hash_sha256": "2", "modelspec.title": "t"}
    (tmp_path / "a").write_bytes(lora(**stale))
    convert_lora(tmp_path / "a", tmp_path / "b", "transformer")
    with safe_open(tmp_path / "b", framework="numpy") as file:
        assert file.metadata() == {"modelspec.title": "t"}


@examples(30)
@given(loras())
def test_the_check_agrees_with_the_safetensors_package(arrays: Arrays) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "x.safetensors"
        save_file(arrays, path)
        facts = check_lora(path)
        data = path.read_bytes()
        header_end = 8 + struct.unpack("<Q", data[:8])[0]
    alphas = {float(one) for name, one in arrays.items() if name.endswith(".alpha")}
    assert facts.alpha == (alphas.pop() if alphas else None)
    assert facts.tensors == len(arrays)
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    assert facts.tensor_sha256 == hashlib.sha256(data[header_end:]).hexdigest()
    assert facts.rank == next(one for name, one in arrays.items() if "lora_A" in name).shape[0]
    assert set(facts.modules) <= set(LAYERS)


@examples(60)
@given(st.data())
def test_what_the_package_refuses_the_check_refuses(data: st.DataObject) -> None:
    """Damaged headers: never laxer than the library that everybody reads the file with."""
    whole = lora(rank=1, blocks=1)
    header = json.loads(whole[8 : 8 + struct.unpack("<Q", whole[:8])[0]])
    entry = header[data.draw(st.sampled_from(sorted(header)))]
    field = data.draw(st.sampled_from(sorted(entry)))
    entry[field] = data.draw(
        st.sampled_from([None, -1, [], [0, 0], [0, 16], [16, 32], [1, 8], "F32", "BF16", [1.5, 2]])
    )
    body = whole[8 + struct.unpack("<Q", whole[:8])[0] :]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "x.safetensors"
        path.write_bytes(with_header(header, body))
        try:
            check_lora(path)
        except LoraInvalid:
            return
        with safe_open(path, framework="numpy") as file:
            assert list(file.keys())
