"""The packs that InsightFace publishes, with the numbers and the terms that belong to each.

Each zip holds three more models (landmarks, gender and age) that nothing here uses; of the files,
only the two named here are kept. The hashes are those that many independent projects publish for
the files of these releases; so even the first download is checked, not only the later ones.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from lora_prep.errors import ConfigurationError
from lora_prep.faces.packs import OPEN_PACK, FacePack, Metric, ModelFile, ModelPair

__all__ = [
    "ARCFACE_CUT",
    "INSIGHTFACE_LICENCE",
    "KNOWN_PACKS",
    "MODEL_ZOO_URL",
    "SCRFD_THRESHOLD",
    "KnownPack",
    "known_pack",
]

MODEL_ZOO_URL = "https://github.com/deepinsight/insightface/releases/download/model-zoo"
"""Where insightface 2.1 itself gets them from (its utils/storage.py)."""

INSIGHTFACE_LICENCE = (
    "InsightFace's pretrained models are for non-commercial research only, however they were "
    "obtained; any other use needs a licence from InsightFace."
)
"""From the README of the insightface package (2.1), in the words of this project."""

ARCFACE_CUT = 0.55
"""Cosine distance, 1 - cosine. The threshold of buffalo_l in deepface's table; Immich groups the
faces of these packs by 0.5. The more generous of the two, because a photo that is left out in
error is a photo lost. For the other packs, trained with the same kind of loss, no better number
is published. Not measured by us."""

SCRFD_THRESHOLD = 0.5
"""The default of insightface's own `FaceAnalysis.prepare`, which all these detectors share."""


@dataclass(frozen=True, slots=True)
class KnownPack:
    """A pack that can be fetched by its name; archive_bytes: size of its zip as published."""

    name: str
    detector: ModelFile
    recogniser: ModelFile
    archive_bytes: int
    metric: Metric = "cosine"
    cut: float = ARCFACE_CUT
    detection_threshold: float = SCRFD_THRESHOLD
    licence: str = INSIGHTFACE_LICENCE
    noncommercial: bool = True

    @property
    def models(self) -> ModelPair:
        """The detector and the recogniser."""
        return self.detector, self.recogniser

    def folder(self, home: Path) -> Path:
        """Return where it lies once it is fetched."""
        return home.resolve() / "faces" / self.name

    def at(self, folder: Path, models: ModelPair, remedy: str) -> FacePack:
        """Return the pack as it lies in a folder."""
        return FacePack(
            name=self.name,
            folder=folder,
            metric=self.metric,
            cut=self.cut,
            detection_threshold=self.detection_threshold,
            licence=self.licence,
            noncommercial=self.noncommercial,
            models=models,
            remedy=remedy,
        )


_SCRFD_500M = ModelFile(
    "det_500m.onnx", "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a"
)
_SCRFD_2_5G = ModelFile(
    "det_2.5g.onnx", "041f73f47371333d1d17a6fee6c8ab4e6aecabefe398ff32cca4e2d5eaee0af9"
)
_SCRFD_10G = ModelFile(
    "det_10g.onnx", "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91"
)
_MOBILE_FACE_NET = ModelFile(
    "w600k_mbf.onnx", "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f"
)
_RESNET_50 = ModelFile(
    "w600k_r50.onnx", "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43"
)
_RESNET_100 = ModelFile(
    "glintr100.onnx", "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf"
)

# buffalo_sc stands before buffalo_s, whose two models are the same: a folder of them is the former.
KNOWN_PACKS: dict[str, KnownPack] = {
    pack.name: pack
    for pack in (
        KnownPack("buffalo_sc", _SCRFD_500M, _MOBILE_FACE_NET, 14_969_382),
        KnownPack("buffalo_s", _SCRFD_500M, _MOBILE_FACE_NET, 127_600_000),
        KnownPack("buffalo_m", _SCRFD_2_5G, _RESNET_50, 275_951_529),
        KnownPack("buffalo_l", _SCRFD_10G, _RESNET_50, 288_621_354),
        # The same detector as buffalo_l's, under another name.
        KnownPack(
            "antelopev2",
            ModelFile("scrfd_10g_bnkps.onnx", _SCRFD_10G.sha256),
            _RESNET_100,
            360_662_982,
        ),
    )
}


def known_pack(name: str) -> KnownPack:
    """Return the pack of that name.

    Raises:
        ConfigurationError: there is none; the near name is offered.
    """
    if known := KNOWN_PACKS.get(name):
        return known
    if name == OPEN_PACK.name:
        raise ConfigurationError(
            f"The face pack {name!r} is not fetched.",
            why="It comes along with lora_prep.",
            fix="Use it as it is; it is the default.",
        )
    near = difflib.get_close_matches(name, [OPEN_PACK.name, *KNOWN_PACKS], n=1, cutoff=0.4)
    raise ConfigurationError(
        f"There is no face pack {name!r}.",
        why=f"The nearest name is {near[0]!r}." if near else "No name is like it.",
        fix='`lora-prep faces list` shows the names; a folder is written with a "/".',
    )
