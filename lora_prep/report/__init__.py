"""report/: one page and one picture that show what became of every photo."""

from lora_prep.report.contact_sheet import write_contact_sheet
from lora_prep.report.drawing import (
    Drawing,
    Fact,
    Scale,
    keep_drawing,
    read_drawing,
    thumbnail_in,
)
from lora_prep.report.page import StageTime, write_report

__all__ = [
    "Drawing",
    "Fact",
    "Scale",
    "StageTime",
    "keep_drawing",
    "read_drawing",
    "thumbnail_in",
    "write_contact_sheet",
    "write_report",
]
