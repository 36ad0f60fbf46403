"""The values that cross from one room to the next, in the order the data flows.

All are frozen. Pixels are counted in the upright picture, after the EXIF orientation was applied;
sizes are in bytes, times are aware UTC. URLs that open without a key are secrets: their fields
are left out of `repr` and of every JSON.
"""

from lora_prep.model.checks import Check, Outcome
from lora_prep.model.pictures import (
    Box,
    Face,
    Fingerprint,
    Framing,
    Measures,
    Photo,
)
from lora_prep.model.training import (
    Bundle,
    BundleEntry,
    Crop,
    Lora,
    LoraFacts,
    Prediction,
    PredictionStatus,
    Role,
    Spelling,
    StoredObject,
    TrainingRequest,
)
from lora_prep.model.verdicts import (
    Decision,
    Finding,
    JudgedFace,
    NoteCode,
    Reason,
    ReasonCode,
    Selection,
    Verdict,
)

__all__ = [
    "Box",
    "Bundle",
    "BundleEntry",
    "Check",
    "Crop",
    "Decision",
    "Face",
    "Finding",
    "Fingerprint",
    "Framing",
    "JudgedFace",
    "Lora",
    "LoraFacts",
    "Measures",
    "NoteCode",
    "Outcome",
    "Photo",
    "Prediction",
    "PredictionStatus",
    "Reason",
    "ReasonCode",
    "Role",
    "Selection",
    "Spelling",
    "StoredObject",
    "TrainingRequest",
    "Verdict",
]
