"""selection/: whose set it is, which photos make it, and whether they are enough."""

from lora_prep.selection.enough import require_enough
from lora_prep.selection.overrides import (
    Override,
    overrides_path,
    read_overrides,
    write_override,
)
from lora_prep.selection.person import Identity, Person, find_person
from lora_prep.selection.select import Wanted, select_photos

__all__ = [
    "Identity",
    "Override",
    "Person",
    "Wanted",
    "find_person",
    "overrides_path",
    "read_overrides",
    "require_enough",
    "select_photos",
    "write_override",
]
