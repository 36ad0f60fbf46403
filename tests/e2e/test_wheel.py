"""The built wheel, installed in an empty environment outside the checkout, does the whole way.

The environment holds the wheel and exactly what its metadata asks for with the extra `local`,
linked from the environment of the tests: nothing is downloaded, and a dependency that is used but
not declared is missing there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lora_prep.embedded import stop_services
from tests.cli.command import SAMPLE_DATA

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def closure(found: Distribution, extras: set[str], seen: dict[str, Distribution]) -> None:
    """Collect everything that a distribution requires on this machine."""
    for line in found.requires or []:
        wanted = Requirement(line)
        environments = [{"extra": extra} for extra in ("", *extras)]
        if wanted.marker and not any(wanted.marker.evaluate(env) for env in environments):
            continue
        name = canonicalize_name(wanted.name)
        if name not in seen or wanted.extras:
            seen[name] = distribution(wanted.name)
            closure(seen[name], wanted.extras, seen)


def link(found: Distribution, site: Path, scripts: Path) -> None:
    """Link a distribution's files into another environment."""
    here = Path(sysconfig.get_path("purelib"))
    for file in found.files or []:
        source = Path(str(found.locate_file(file))).resolve()
        if source.is_relative_to(here):
            top = source.relative_to(here).parts[0]
            target, source = site / top, here / top
        else:
            target = scripts / source.name
        if not target.exists():
            target.symlink_to(source)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    venv.create(place / "env", with_pip=False)
    python = place / "env" / "bin" / "python"
    (site,) = (place / "env" / "lib").glob("python*/site-packages")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q"]
    subprocess.run([*install, "--no-index", "--no-deps", str(wheel)], check=True)
    seen: dict[str, Distribution] = {}
    (installed,) = site.glob("lora_prep-*.dist-info")
    closure(Distribution.at(installed), {"local"}, seen)
    for found in seen.values():
        link(found, site, python.parent)
    return place / "env"


def test_the_wheel_does_the_whole_way(environment: Path, tmp_path: Path) -> None:
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONPATH", "VIRTUAL_ENV"} and not name.startswith("PYTEST")
    }
    clean["LORA_PREP_EMBEDDED__REHEARSAL_S"] = "0"
    home = Path(os.environ["LORA_PREP_HOME"])
    try:
        done = subprocess.run(
            [environment / "bin" / "lora-prep", "run", SAMPLE_DATA / "people" / "ben", "--json"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=clean,
            timeout=120,
        )
    finally:
        stop_services(home)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["dataset"]["images"]) == ("archived", 14)
    assert Path(answer["report"]).exists()


def test_the_wheel_holds_both_packages_and_their_data(environment: Path) -> None:
    (site,) = (environment / "lib").glob("python*/site-packages")
    for name in (
        "lora_prep/py.typed",
        "lora_prep/report/templates/report.html",
        "lora_prep/faces/open_pack/det_yunet.onnx",
        "lora_prep/faces/open_pack/rec_dlib128.onnx",
        "lora_prep/faces/open_pack/manifest.json",
        "pipelines/steps.py",
    ):
        assert (site / name).is_file(), name
    (info,) = site.glob("lora_prep-*.dist-info")
    assert {path.name for path in (info / "licenses").iterdir()} == {"LICENSE", "NOTICE"}


def test_python_m_lora_prep_is_the_command(environment: Path) -> None:
    done = subprocess.run(
        [environment / "bin" / "python", "-m", "lora_prep", "--version"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.stdout == f"lora-prep {distribution('lora_prep').version}\n"
