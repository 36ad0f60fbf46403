"""report/: one page and one picture that show what became of every photo."""

from lora_prep.report.contact_sheet import write_contact_sheet
from lora_prep.report.page import Fact, write_report

__all__ = ["Fact", "write_contact_sheet", "write_report"]
