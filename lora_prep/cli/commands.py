"""The table of commands: the overview is drawn from it and the parser is built from it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["COMMANDS", "GROUPS", "Command"]


class Command(NamedTuple):
    """One command: its words ("store up"), its arguments, where its function lies, one line."""

    group: str
    words: str
    arguments: str
    function: str
    summary: str

    @property
    def usage(self) -> str:
        """The command with its arguments, as typed."""
        return f"{self.words} {self.arguments}".rstrip()


WHOLE, STAGE, LOOK = "The whole way", "Single stages", "Looking"
MANY = "Many people"
BUCKET, LOCAL = "Your bucket", "On this machine"
GROUPS = (WHOLE, MANY, STAGE, LOOK, BUCKET, LOCAL)

_CHAIN, _STAGES = "lora_prep.cli.chain", "lora_prep.cli.stages"
_RESUMING, _RUNS = "lora_prep.cli.resuming", "lora_prep.cli.runs"
_BATCHING, _SCHEDULING = "lora_prep.cli.batching", "lora_prep.cli.scheduling"
_BUCKET = "lora_prep.cli.bucket"
_FACES = "lora_prep.cli.faces"
_LORAS, _WATCHING = "lora_prep.cli.loras", "lora_prep.cli.watching"
_LOOKING, _SERVICES = "lora_prep.cli.looking", "lora_prep.cli.services"

COMMANDS = (
    Command(WHOLE, "run", "FOLDER", f"{_CHAIN}:run", "Everything for one person."),
    Command(
        WHOLE,
        "plan",
        "FOLDER",
        f"{_CHAIN}:plan",
        "All checks, the price and the exact request; pays nothing.",
    ),
    Command(
        WHOLE, "resume", "[RUN]", f"{_RESUMING}:resume", "Go on with a run that was broken off."
    ),
    Command(MANY, "batch run", "JOBS", f"{_BATCHING}:batch_run", "Everything for many people."),
    Command(MANY, "batch status", "JOBS", f"{_BATCHING}:batch_status", "How far each of them is."),
    Command(
        MANY,
        "schedule add",
        "NAME JOBS --cron CRON",
        f"{_SCHEDULING}:schedule_add",
        "Train what is new or changed, again and again.",
    ),
    Command(MANY, "schedule list", "", f"{_SCHEDULING}:schedule_list", "When each is next."),
    Command(MANY, "schedule pause", "NAME", f"{_SCHEDULING}:schedule_pause", "Let it rest."),
    Command(MANY, "schedule resume", "NAME", f"{_SCHEDULING}:schedule_resume", "Let it go on."),
    Command(
        MANY, "schedule run-now", "NAME", f"{_SCHEDULING}:schedule_run_now", "Do not wait for it."
    ),
    Command(MANY, "schedule remove", "NAME", f"{_SCHEDULING}:schedule_remove", "Forget it."),
    Command(MANY, "worker", "", f"{_SCHEDULING}:worker", "Serve the queue and the schedules."),
    Command(
        STAGE, "inspect", "FOLDER", f"{_CHAIN}:inspect", "A verdict per photo, and the report."
    ),
    Command(
        STAGE,
        "review",
        "FOLDER",
        "lora_prep.cli.reviewing:review",
        "Keep, leave out and crop photos by hand, on a local page.",
    ),
    Command(STAGE, "prepare", "FOLDER -o ZIP", f"{_CHAIN}:prepare", "Crops and the zip."),
    Command(STAGE, "upload", "ZIP", f"{_STAGES}:upload", "Put a zip into the bucket; its URL."),
    Command(STAGE, "train", "URL", f"{_STAGES}:train", "Submit one training and wait for it."),
    Command(
        STAGE,
        "archive",
        "PREDICTION",
        f"{_STAGES}:archive",
        "Fetch, verify and keep the LoRA of a training.",
    ),
    Command(
        STAGE,
        "archive verify",
        "",
        f"{_WATCHING}:archive_verify",
        "Compare everything in the bucket with its hashes.",
    ),
    Command(
        STAGE,
        "resolve",
        "RUN",
        f"{_RESUMING}:resolve",
        "Say what became of a submission whose answer was lost.",
    ),
    Command(
        STAGE,
        "adopt",
        "PREDICTION",
        f"{_RESUMING}:adopt",
        "Take over a training that was submitted elsewhere.",
    ),
    Command(
        LOOK,
        "status",
        "[RUN]",
        f"{_RUNS}:status",
        "Runs that are not finished, and what expires soon.",
    ),
    Command(LOOK, "runs", "", f"{_RUNS}:runs", "Every run, what needs you first."),
    Command(
        LOOK,
        "dashboard",
        "",
        "lora_prep.cli.dashboard:dashboard",
        "Runs, batches, schedules and money on a local page.",
    ),
    Command(LOOK, "runs prune", "", f"{_RUNS}:runs_prune", "Remove runs that ended long ago."),
    Command(LOOK, "cancel", "RUN", f"{_RUNS}:cancel", "Give a run up; what that does not stop."),
    Command(
        LOOK,
        "sweep",
        "",
        f"{_WATCHING}:sweep",
        "Archive what the provider has and no archive holds yet.",
    ),
    Command(LOOK, "open", "[RUN]", f"{_LOOKING}:open_report", "Show the report of a run."),
    Command(
        LOOK,
        "init",
        "",
        "lora_prep.cli.init:init",
        "A few questions, a settings file without secrets, the doctor.",
    ),
    Command(
        LOOK,
        "doctor",
        "[--live] [--deep]",
        "lora_prep.cli.doctor:doctor",
        "Check what a run needs, before it can go wrong.",
    ),
    Command(
        LOOK,
        "config show",
        "",
        f"{_LOOKING}:config_show",
        "Every setting, its value and who set it.",
    ),
    Command(
        LOOK, "lora check", "FILE", f"{_LORAS}:lora_check", "Whether a LoRA is whole; what it is."
    ),
    Command(
        LOOK,
        "lora convert",
        "FILE --to SPELLING",
        f"{_LORAS}:lora_convert",
        "The same LoRA for other tools.",
    ),
    Command(LOOK, "lora use", "RUN", f"{_LORAS}:lora_use", "Links and lines to use a LoRA with."),
    Command(LOCAL, "faces list", "", f"{_FACES}:faces_list", "The face packs, and which are here."),
    Command(
        LOCAL,
        "faces fetch",
        "NAME",
        f"{_FACES}:faces_fetch",
        "Fetch one of InsightFace's packs (non-commercial).",
    ),
    Command(
        LOCAL,
        "faces verify",
        "[PACK]",
        f"{_FACES}:faces_verify",
        "Compare the models with their hashes.",
    ),
    Command(LOCAL, "serve", "--port N", f"{_SERVICES}:serve", "Run the trainer service alone."),
    Command(
        BUCKET,
        "store policy",
        "",
        f"{_BUCKET}:store_policy",
        "The least rights that a key of your bucket needs.",
    ),
    Command(
        BUCKET,
        "store lifecycle",
        "",
        f"{_BUCKET}:store_lifecycle",
        "Offer rules by which the bucket cleans up by itself.",
    ),
    Command(
        BUCKET, "store gc", "", f"{_BUCKET}:store_gc", "Delete data sets that a crash left there."
    ),
    Command(
        LOCAL, "store up", "", f"{_SERVICES}:store_up", "Start the embedded S3 server and keep it."
    ),
    Command(LOCAL, "store status", "", f"{_SERVICES}:store_status", "Whether it runs, and where."),
    Command(
        LOCAL, "store down", "", f"{_SERVICES}:store_down", "Stop the embedded services at once."
    ),
)
