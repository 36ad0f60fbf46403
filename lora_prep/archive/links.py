"""The links to the files of one training: secrets that die, and are asked for anew."""

from __future__ import annotations

from collections.abc import Callable

from lora_prep.errors import ArchiveError, ConfigurationError, ResultExpired
from lora_prep.model import Prediction, Role
from lora_prep.trainers import role_of_output, trainer_of

__all__ = ["Links"]


class Links:
    """Where each file of a training can be fetched now.

    ask: gives the prediction anew, with fresh links; None where nobody can be asked.
    """

    def __init__(self, prediction: Prediction, ask: Callable[[], Prediction] | None) -> None:
        self._prediction = prediction
        self._ask = ask

    def roles(self) -> tuple[Role, ...]:
        """Return which LoRA each file is, by its name where the training gives several.

        Raises:
            ResultExpired: there is no link at all.
            ArchiveError: one of several files is missing: they are one result.
        """
        if not self._prediction.outputs:
            raise ResultExpired(
                f"The provider has no file of the training {self._prediction.id} any more.",
                why="It is not whole on this machine either.",
                fix="Results live 7 days; train it once more.",
            )
        roles = _roles(self._prediction)
        expected = _expected(self._prediction.model)
        if len(expected) > 1 and len(roles) < len(expected):
            raise ArchiveError(
                f"The training {self._prediction.id} gives {len(roles)} of {len(expected)} files.",
                why=f"{self._prediction.model} makes {' and '.join(expected)}: one result.",
                fix="Try again in a minute; if it stays so, tell the provider.",
            )
        return roles

    def link(self, index: int, role: Role) -> str:
        """Return the present link to a file; index: its place in `roles` when first asked."""
        roles = _roles(self._prediction)
        # Their order may have changed since; where the names tell them apart, they count.
        place = roles.index(role) if roles.count(role) == 1 else index
        return self._prediction.outputs[min(place, len(roles) - 1)]

    def renew(self, index: int, role: Role) -> Callable[[], str] | None:
        """Return who gives a fresh link to a file; None where nobody can be asked."""
        ask = self._ask
        if ask is None:
            return None

        def fresh() -> str:
            self._prediction = ask()
            return self.link(index, role)

        return fresh


def _roles(prediction: Prediction) -> tuple[Role, ...]:
    try:
        trainer = trainer_of(prediction.model)
    except ConfigurationError:  # one of the user's own
        return tuple(_role_by_name(link) for link in prediction.outputs)
    return tuple(role_of_output(link, trainer) or "single" for link in prediction.outputs)


def _role_by_name(link: str) -> Role:
    from urllib.parse import urlsplit

    name = urlsplit(link).path.rpartition("/")[2].lower()
    if "high_noise" in name:
        return "high_noise"
    return "low_noise" if "low_noise" in name else "single"


def _expected(model: str) -> tuple[Role, ...]:
    try:
        return trainer_of(model).roles
    except ConfigurationError:
        return ()
