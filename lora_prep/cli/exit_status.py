"""Which error ends the command with which status: the contract scripts rely on."""

from __future__ import annotations

from lora_prep.errors import (
    ArchiveError,
    ConfigurationError,
    CredentialsError,
    DatasetError,
    Declined,
    LoraPrepError,
    StorageError,
    SubmissionUnknown,
    TemporaryError,
    TrainingFailed,
)

__all__ = ["DONE", "INTERRUPTED", "UNEXPECTED", "USAGE", "exit_status"]

DONE, UNEXPECTED, USAGE, INTERRUPTED = 0, 1, 2, 130

_STATUS: dict[type[LoraPrepError], int] = {
    ConfigurationError: USAGE,
    DatasetError: 3,
    CredentialsError: 4,
    StorageError: 5,
    TrainingFailed: 6,
    SubmissionUnknown: 7,
    ArchiveError: 8,
    Declined: 9,
    TemporaryError: 75,  # sysexits.h: EX_TEMPFAIL
}


def exit_status(error: LoraPrepError) -> int:
    """Return the status an error ends the command with; subclasses share their parent's."""
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return UNEXPECTED
