from __future__ import annotations

import os
from pathlib import Path

import pytest


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
