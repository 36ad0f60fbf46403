"""Every error lora_prep raises on purpose, and what it makes of all others.

    LoraPrepError                     code                  exit
    ├── ConfigurationError            configuration            2
    │   ├── UnknownSetting            unknown_setting          2
    │   ├── NotAPhotoFolder           not_a_photo_folder       2
    │   ├── TrainerNotAllowed         trainer_not_allowed      2
    │   └── MissingDependency         missing_dependency       2
    ├── DatasetError                  dataset                  3
    │   ├── NoPhotos                  no_photos                3
    │   ├── DatasetTooSmall           dataset_too_small        3
    │   ├── TwoPeople                 two_people               3
    │   └── CaptionInvalid            caption_invalid          3
    ├── CredentialsError              credentials              4
    ├── StorageError                  storage                  5
    ├── TrainingFailed                training_failed          6
    │   ├── DatasetNotFetched         dataset_not_fetched      6
    │   └── NoOutputs                 no_outputs               6
    ├── SubmissionUnknown             submission_unknown       7
    │   └── NeedsAttention            needs_attention          7
    ├── ArchiveError                  archive_failed           8
    │   ├── ResultExpired             result_expired           8
    │   └── LoraInvalid               lora_invalid             8
    │       └── LoraBroken            lora_broken              8
    ├── Declined                      declined                 9
    ├── TemporaryError                temporary               75
    │   └── TooManyRequests           too_many_requests       75
    ├── RefusedBySystem               system                   1
    └── Unexpected                    unexpected               1

The exit status belongs to the command line (`lora_prep.cli.exit_status`); the tree, the codes and
the words belong here. A rejected photo is not an error: it is a verdict (`lora_prep.selection`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lora_prep.redaction import redacted

__all__ = [
    "ArchiveError",
    "CaptionInvalid",
    "ConfigurationError",
    "CredentialsError",
    "DatasetError",
    "DatasetNotFetched",
    "DatasetTooSmall",
    "Declined",
    "LoraBroken",
    "LoraInvalid",
    "LoraPrepError",
    "MissingDependency",
    "NeedsAttention",
    "NoOutputs",
    "NoPhotos",
    "NotAPhotoFolder",
    "RefusedBySystem",
    "ResultExpired",
    "StorageError",
    "SubmissionUnknown",
    "TemporaryError",
    "TooManyRequests",
    "TrainerNotAllowed",
    "TrainingFailed",
    "TwoPeople",
    "Unexpected",
    "UnknownSetting",
    "error_of",
    "unforeseen",
]


class LoraPrepError(Exception):
    """Something went wrong that a person can act on.

    `what` happened, `why`, what to do (`fix`), a stable `code`, and whether trying the same thing
    again can help (`retryable`). None of the texts may hold a key or a presigned URL.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, why: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what} {self.why} {self.fix} [{self.code}]"

    def to_json(self) -> dict[str, str | bool]:
        """Return the `error` object of the JSON contract."""
        return {
            "code": self.code,
            "message": self.what,
            "why": self.why,
            "fix": self.fix,
            "retryable": self.retryable,
        }


def error_of(value: Mapping[str, Any]) -> LoraPrepError:
    """Return the error that an `error` object of the JSON contract tells of.

    One whose code nobody knows is a plain `LoraPrepError`.
    """
    kinds, found = [LoraPrepError], LoraPrepError
    while kinds:
        kind = kinds.pop()
        found = kind if kind.code == value["code"] else found
        kinds += kind.__subclasses__()
    return found(value["message"], why=value["why"], fix=value["fix"])


def unforeseen(error: Exception) -> LoraPrepError:
    """Return what a person is told of an error that nobody raised on purpose."""
    if isinstance(error, LoraPrepError):
        return error
    if isinstance(error, OSError):
        place = f" {error.filename}" if error.filename else ""
        return RefusedBySystem(
            f"The system refused to read or write{place}.",
            why=f"{error.strerror or type(error).__name__}.",
            fix="Make room or give permission there, or set LORA_PREP_HOME to another folder.",
        )
    return Unexpected(
        "Something went wrong that lora-prep did not expect.",
        why=f"{type(error).__name__}: {redacted(str(error))}",
        fix="Run it again with --debug and report what it prints.",
    )


class ConfigurationError(LoraPrepError):
    """The command or the settings cannot be used as they are."""

    code = "configuration"


class UnknownSetting(ConfigurationError):
    """A settings file or the environment names a setting that does not exist."""

    code = "unknown_setting"


class NotAPhotoFolder(ConfigurationError):
    """The path given as a folder of photos is missing, is no folder or cannot be listed."""

    code = "not_a_photo_folder"


class TrainerNotAllowed(ConfigurationError):
    """The trainer's address may not be used, or not with this store."""

    code = "trainer_not_allowed"


class MissingDependency(ConfigurationError):
    """A Python extra or a system library is not installed."""

    code = "missing_dependency"


class DatasetError(LoraPrepError):
    """The photos cannot make a training set."""

    code = "dataset"


class NoPhotos(DatasetError):
    """The folder holds no file at all."""

    code = "no_photos"


class DatasetTooSmall(DatasetError):
    """Fewer usable photos than a training needs; every photo has its verdict."""

    code = "dataset_too_small"


class TwoPeople(DatasetError):
    """A second person is in nearly as many photos as the first."""

    code = "two_people"


class CaptionInvalid(DatasetError):
    """A caption is no text, or does not name the trigger word exactly once."""

    code = "caption_invalid"


class CredentialsError(LoraPrepError):
    """A key was missing, wrong or lacks a permission."""

    code = "credentials"


class StorageError(LoraPrepError):
    """The bucket could not be reached or answered with an error."""

    code = "storage"
    retryable = True


class TrainingFailed(LoraPrepError):
    """The provider ended the training without a result."""

    code = "training_failed"


class DatasetNotFetched(TrainingFailed):
    """The provider could not fetch the data URL: sign it anew and submit once more."""

    code = "dataset_not_fetched"


class NoOutputs(TrainingFailed):
    """The provider calls the training completed, but names no file."""

    code = "no_outputs"


class SubmissionUnknown(LoraPrepError):
    """The paid request was sent and its answer was lost: it may have been accepted."""

    code = "submission_unknown"


class NeedsAttention(SubmissionUnknown):
    """A lost submission was looked for, and only its owner can say what became of it.

    `candidates`: ids of the predictions that may be it, the newest first.
    """

    code = "needs_attention"

    def __init__(self, what: str, *, why: str, fix: str, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(what, why=why, fix=fix)
        self.candidates = candidates

    def to_json(self) -> dict[str, Any]:
        """Return the `error` object of the JSON contract, with the candidates."""
        return {**super().to_json(), "candidates": list(self.candidates)}


class ArchiveError(LoraPrepError):
    """The trained LoRA could not be fetched, verified or kept."""

    code = "archive_failed"
    retryable = True


class ResultExpired(ArchiveError):
    """The provider no longer has the result."""

    code = "result_expired"
    retryable = False


class LoraInvalid(ArchiveError):
    """The provider's file is not a whole, well-formed LoRA."""

    code = "lora_invalid"


class LoraBroken(LoraInvalid):
    """The file is whole, but holds NaN or infinity, or changes nothing."""

    code = "lora_broken"
    retryable = False


class Declined(LoraPrepError):
    """The user said no, or the price is above the limit."""

    code = "declined"


class TemporaryError(LoraPrepError):
    """A server did not answer in time; trying again later can help."""

    code = "temporary"
    retryable = True


class TooManyRequests(TemporaryError):
    """The trainer has no room now; it did not take the request.

    `retry_after_s`: how long it asks to wait, None when it does not say.
    """

    code = "too_many_requests"

    def __init__(
        self, what: str, *, why: str, fix: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(what, why=why, fix=fix)
        self.retry_after_s = retry_after_s


class RefusedBySystem(LoraPrepError):
    """The operating system did not let us read or write: a full disk, a missing right."""

    code = "system"
    retryable = True


class Unexpected(LoraPrepError):
    """An error of our own."""

    code = "unexpected"
