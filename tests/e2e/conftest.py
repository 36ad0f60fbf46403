from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_prep.embedded import stop_services


@pytest.fixture(scope="module")
def module_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home for all tests of a file, so that the embedded services start once."""
    home = tmp_path_factory.mktemp("home").resolve()
    yield home
    stop_services(home)


@pytest.fixture
def home(module_home: Path, own_place: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORA_PREP_HOME", str(module_home))
    monkeypatch.setenv("LORA_PREP_EMBEDDED__REHEARSAL_S", "0")
    return module_home


@pytest.fixture(scope="module")
def module_environment(module_home: Path) -> dict[str, str]:
    """What `home` sets, for fixtures that live as long as the file's tests."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LORA_PREP_", "WAVESPEED_"))}
    return clean | {"LORA_PREP_HOME": str(module_home), "LORA_PREP_EMBEDDED__REHEARSAL_S": "0"}
