"""What is public, and what it costs to import it."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import lora_prep

PACKAGE = Path(lora_prep.__file__).parent
HEAVY = ["PIL", "numpy", "pydantic", "boto3", "httpx", "cyclopts", "rich", "dbos", "onnxruntime"]


def module_names() -> list[str]:
    """Every module below lora_prep, found by its file, so that none is imported to be listed."""
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[-1] == "__main__":
            continue
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def as_ruff_sorts(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then the rest: what RUF022 keeps in order."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_all_lists_what_the_package_offers() -> None:
    assert sorted(lora_prep.__all__) == dir(lora_prep)
    assert set(lora_prep.__all__) == {*lora_prep._HOMES, "__version__"}
    assert lora_prep.__all__ == sorted(lora_prep.__all__, key=as_ruff_sorts)


def test_type_checkers_see_the_same_names_as_users() -> None:
    tree = ast.parse(Path(lora_prep.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: (node.module or "").removeprefix("lora_prep.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert seen == lora_prep._HOMES


@pytest.mark.parametrize("name", lora_prep.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(lora_prep, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        lora_prep.train  # noqa: B018
    assert not hasattr(lora_prep, "__wrapped__")


@pytest.mark.parametrize("name", module_names())
def test_every_all_resolves_and_is_sorted(name: str) -> None:
    module = import_module(name)
    exported = getattr(module, "__all__", [])

    assert [entry for entry in exported if not hasattr(module, entry)] == []
    assert list(exported) == sorted(set(exported), key=as_ruff_sorts)
    if hasattr(module, "__path__") and name != "lora_prep" and exported:
        offered = {
            entry
            for entry, value in vars(module).items()
            if not entry.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value))
            and value.__module__.startswith("lora_prep")
        }
        assert offered <= set(exported)


def loaded_by(statement: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    return [name for name in HEAVY if name in done.stdout.split()]


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import lora_prep; dir(lora_prep)") == []


def test_the_rooms_of_the_data_set_load_nothing_heavy_either() -> None:
    rooms = ["photos", "faces", "inspection", "selection", "cropping", "bundle"]

    assert loaded_by("import " + ", ".join(f"lora_prep.{room}" for room in rooms)) == []
