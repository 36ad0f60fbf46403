"""archive/: fetch the LoRA, prove that it is whole, and keep it in the user's own bucket.

download   part, answers       the link, resumed however often it breaks
check      header, spelling, scan            what the file is, and that it is whole
keep       journal, links      step by step into the bucket
sidecar    card, use           what lies beside it, and how it is used
"""

from lora_prep.archive.card import model_card
from lora_prep.archive.check import check_file, check_header, check_lora
from lora_prep.archive.convert import Converted, Target, convert_lora
from lora_prep.archive.download import KEPT_FOR, Limits, download, spoken
from lora_prep.archive.journal import (
    ArchiveState,
    Journal,
    note_cleaned,
    note_submitted,
    read_journal,
    start_over,
    starts_over,
)
from lora_prep.archive.keep import How, archive_lora, put_back
from lora_prep.archive.remote import check_object, check_url
from lora_prep.archive.sidecar import (
    Archive,
    TrainingFacts,
    archives,
    find_archive,
    find_archived,
)
from lora_prep.archive.use import Inference, comfyui_line, diffusers_line, inference_loras
from lora_prep.archive.verify import Found, verify_archives

__all__ = [
    "KEPT_FOR",
    "Archive",
    "ArchiveState",
    "Converted",
    "Found",
    "How",
    "Inference",
    "Journal",
    "Limits",
    "Target",
    "TrainingFacts",
    "archive_lora",
    "archives",
    "check_file",
    "check_header",
    "check_lora",
    "check_object",
    "check_url",
    "comfyui_line",
    "convert_lora",
    "diffusers_line",
    "download",
    "find_archive",
    "find_archived",
    "inference_loras",
    "model_card",
    "note_cleaned",
    "note_submitted",
    "put_back",
    "read_journal",
    "spoken",
    "start_over",
    "starts_over",
    "verify_archives",
]
