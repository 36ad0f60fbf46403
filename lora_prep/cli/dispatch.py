"""Parse the command line with cyclopts and run the command in a session."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lora_prep import __version__
from lora_prep.cli.commands import COMMANDS, Command
from lora_prep.cli.session import Session
from lora_prep.errors import ConfigurationError

if TYPE_CHECKING:
    from cyclopts import App

__all__ = ["build_app", "dispatch"]

EVERY_COMMAND = "Every command: --json prints one object on stdout, --debug shows tracebacks."


def build_app(first: str | None = None) -> App:
    """Return the parser; a command's module is imported when the command is used.

    first: the first word that was typed. A command that is a group too ("archive") can only be
    registered by its function; it is imported only when it is meant, or when `first` is None. So
    are all commands of the group that `first` names: its help says what each of them does.
    """
    from cyclopts import App, Parameter

    app = App(
        name="lora-prep",
        version=__version__,
        help="From a folder of photos of one person to a verified Wan LoRA in your own bucket.",
        help_format="markdown",
        help_epilogue=EVERY_COMMAND,
        default_parameter=Parameter(negative=(), show_env_var=False),
    )
    groups: dict[str, App] = {}
    for name in dict.fromkeys(command.words.rpartition(" ")[0] for command in COMMANDS):
        groups[name] = App(name=name) if name else app
        if name:
            app.command(groups[name])
    for command in COMMANDS:
        group, _, name = command.words.rpartition(" ")
        if command.words not in groups:
            meant = group and group == first
            groups[group].command(_function(command) if meant else command.function, name=name)
        elif first in (None, command.words):
            groups[command.words].default(_function(command))
    return app


def _function(command: Command) -> Any:
    module, _, name = command.function.partition(":")
    return getattr(import_module(module), name)


def dispatch(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name and return the exit status."""
    from cyclopts import CycloptsError

    words, session = _common_flags(arguments)
    try:
        command, bound, injected = build_app(words[0] if words else "").parse_args(
            words, exit_on_error=False, print_error=False
        )
    except CycloptsError as error:
        usage = _usage_error(error, words)

        def refuse() -> None:
            raise usage

        return session.run(refuse)
    extra = {"session": session} if "session" in injected else {}
    return session.run(lambda: command(*bound.args, **bound.kwargs, **extra))


def _common_flags(arguments: Sequence[str]) -> tuple[list[str], Session]:
    """Take out the flags that every command has; after "--" nothing is a flag."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = {"--json", "--debug"} & set(arguments[:end])
    words = [word for word in arguments[:end] if word not in flags]
    return [*words, *arguments[end:]], Session(json="--json" in flags, debug="--debug" in flags)


def _usage_error(error: Exception, arguments: Sequence[str]) -> ConfigurationError:
    words = " ".join(argument for argument in arguments[:2] if not argument.startswith("-"))
    known = [command.words for command in COMMANDS]
    topic = max((name for name in known if words.startswith(name)), key=len, default="")
    return ConfigurationError(
        "The command line is not understood.",
        why=" ".join(str(error).split()),
        fix=f"See: lora-prep {topic} --help".replace("  ", " "),
    )
