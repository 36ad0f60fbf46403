"""What is drawn on a terminal: on a pseudo terminal, by a real process, seen by an emulator."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.cli.command import SAMPLE_DATA, command
from tests.cli.terminal import Terminal, own_environment, terminal

ROOT = Path(__file__).parents[2]
HIDDEN, VISIBLE = b"\x1b[?25l", b"\x1b[?25h"
SPINNING = set("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
CONTROL = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m")
BEGIN = """
import sys, termios, threading
from lora_prep.cli.session import make_progress
from lora_prep.events import Event
quiet = termios.tcgetattr(0)
quiet[3] &= ~termios.ECHO  # what the test types is no part of the picture
termios.tcsetattr(0, termios.TCSANOW, quiet)
progress = make_progress()
def event(stage, message, kind="progress", done=None, total=None, unit="items"):
    progress.show(Event(stage, message, kind, done, total, unit))
def wait():
    sys.stdin.readline()
"""


@contextmanager
def drawn(code: str, *, columns: int = 80, **environment: str) -> Iterator[Terminal]:
    """Run code that sends events and waits for a key now and then."""
    words = [sys.executable, "-c", BEGIN + code]
    with terminal(
        *words, columns=columns, environment=own_environment(**environment), cwd=ROOT
    ) as shown:
        yield shown


def widest(raw: bytes, encoding: str = "utf-8") -> int:
    """The columns of the longest line that was ever sent."""
    pieces = re.split(r"[\r\n]+", CONTROL.sub("", raw.decode(encoding)))
    return max(cell_len(piece.rstrip()) for piece in pieces)


def is_left_clean(shown: Terminal) -> bool:
    """Whether the cursor is back, and nothing that moved is left."""
    hidden, visible = shown.raw.rfind(HIDDEN), shown.raw.rfind(VISIBLE)
    return visible > hidden and not SPINNING & set(shown.text)


def test_a_stage_has_one_line_and_keeps_it_with_a_tick() -> None:
    code = """
event("prepare", "looking at photos", done=3, total=16)
wait()
event("prepare", "cropping", done=16, total=16)
event("prepare", "16 photos cropped", "done")
event("prepare", "No photo shows a profile.", "note")
event("upload", "uploading the zip")
wait()
event("upload", "5.7 MB to the bucket", "done")
progress.end("done")
"""
    with drawn(code) as shown:
        shown.until("3 of 16")
        (line,) = shown.lines
        assert line[0] in SPINNING
        assert re.fullmatch(r". prepare   looking at photos +[━╸╺]+ +3 of 16 \d\.\d s", line)
        shown.type("\n")
        shown.until("uploading")
        shown.type("\n")
        assert shown.ended() == 0
        assert [re.sub(r" +\d\.\d s$", "", line) for line in shown.lines] == [
            "✓ prepare   16 photos cropped",
            "            No photo shows a profile.",
            "✓ upload    5.7 MB to the bucket",
        ]
        assert all(len(line) == 78 for line in shown.lines if line.startswith("✓"))
        assert is_left_clean(shown)


def test_a_stage_that_fails_keeps_a_cross_what_was_cleaned_up_a_tick() -> None:
    code = """
event("train", "submitted as 1234", "note")
event("train", "processing", done=2, unit="s")
event("clean", "the photos of another run are left", "warning")
event("clean", "the data set zip is deleted", "done")
progress.end("failed")
event("train", "processing", done=3, unit="s")
event("clean", "a late word", "done")
"""
    with drawn(code) as shown:
        assert shown.ended() == 0
        assert [line[:2] + line[12:42].strip() for line in shown.lines] == [
            "! the photos of another run are",
            "✗ submitted as 1234",
            "✓ the data set zip is deleted",
            "✓ a late word",
        ]
        assert is_left_clean(shown)


def test_a_stage_that_another_goes_back_behind_has_no_tick() -> None:
    code = """
event("train", "processing", done=2, unit="s")
event("upload", "uploading the zip")
event("train", "processing", done=2, unit="s")
event("archive", "downloading", done=3, total=4, unit="bytes")
progress.end("stopped")
"""
    with drawn(code) as shown:
        shown.ended()
        assert [line.split()[:2] for line in shown.lines] == [
            ["■", "train"],
            ["✓", "upload"],
            ["✓", "train"],
            ["■", "archive"],
        ]


@pytest.mark.parametrize("columns", [40, 20])
def test_on_a_narrow_terminal_no_line_is_longer_than_it(columns: int) -> None:
    code = """
event("archive", "downloading, the provider keeps it 6 d 23 h more")
event("archive", "a note " * 20, "note")
event("archive", "写真をダウンロードしています" * 3, done=12, total=307_000_000, unit="bytes")
wait()
progress.say("words that are said " * 5)
event("archive", "a LoRA of 38.4 MB is in the bucket, verified and read back", "done")
progress.end("done")
"""
    with drawn(code, columns=columns) as shown:
        shown.until("307 MB" if columns == 40 else "archive")
        if columns == 40:
            line, note = shown.lines
            assert re.fullmatch(r". archive   写真 …   0 of 307 MB \d\.\d s", line)
            assert note.endswith("…")
        shown.type("\n")
        assert shown.ended() == 0
        assert widest(shown.raw) <= columns
        words = " ".join(shown.text.replace("✓ archive", "").split())
        for word in ("words that are said", "verified", "read back"[:4]):
            assert word in words or columns == 20, shown.text
        assert is_left_clean(shown)


def test_without_colours_there_are_none() -> None:
    code = """
event("prepare", "looking at photos", done=3, total=16)
event("prepare", "look out", "warning")
progress.end("failed")
"""
    with drawn(code) as coloured:
        coloured.ended()
        assert COLOUR.search(coloured.raw.decode())
    with drawn(code, NO_COLOR="1") as shown:
        shown.ended()
        assert not COLOUR.search(shown.raw.decode())
        assert shown.text.startswith("! prepare   look out")


def test_a_terminal_that_knows_ascii_alone_gets_nothing_else() -> None:
    code = """
event("prepare", "looking at caf\\u00e9 " * 5, done=3, total=16)
wait()
event("prepare", "caf\\u00e9 cropped", "done")
event("train", "processing")
progress.end("failed")
"""
    with drawn(code, columns=40, PYTHONIOENCODING="ascii:backslashreplace") as shown:
        shown.until("3 of 16")
        assert shown.lines[0][0] in "-\\|/"
        shown.type("\n")
        shown.ended()
        assert widest(shown.raw, "ascii") <= 40
        assert shown.lines[0].startswith(r"+ prepare   caf\xe9 cropped")
        assert shown.lines[1].startswith("x train     processing")


def test_a_terminal_that_cannot_redraw_gets_plain_lines() -> None:
    with drawn('event("prepare", "cropping", done=1, total=2)', TERM="dumb") as shown:
        shown.ended()
        assert shown.raw == b"prepare: cropping\r\n"


def test_nothing_is_drawn_while_a_question_is_open() -> None:
    code = """
from lora_prep.cli.session import Session
session = Session(progress=progress)
event("prepare", "16 photos cropped", "done")
event("train", "submitting")
sent = threading.Event()
def work():  # what a thread of the engine would do
    for number in range(50):
        event("train", "submitting", done=number, total=50)
    event("train", "said meanwhile", "note")
    sent.set()
with progress.held():
    sys.stderr.write("It costs 4 USD.")
    threading.Thread(target=work).start()
    sent.wait()
    sys.stderr.write(" All is sent.")
    sys.stderr.flush()
    wait()
    sys.stderr.write("\\n")
wait()
quiet[3] |= termios.ECHO
termios.tcsetattr(0, termios.TCSANOW, quiet)
progress.say("yes" if session.agrees("Submit it?") else "no")
progress.end("stopped")
"""
    with drawn(code) as shown:
        shown.until("All is sent.")
        tick, question = shown.lines
        assert tick.startswith("✓ prepare   16 photos cropped")
        assert question == "It costs 4 USD. All is sent."
        shown.type("\n")
        shown.until("said meanwhile")
        assert "49 of 50" in shown.lines[2]
        shown.type("\n")
        shown.until("[y/N]")
        shown.type("y\n")
        shown.ended()
        assert shown.lines[1:4] == [question, "Submit it? [y/N] y", "yes"]
        assert shown.lines[4].startswith("■ train     said meanwhile")
        assert is_left_clean(shown)


def test_events_of_many_threads_leave_one_line_a_stage() -> None:
    code = """
def work(first):
    for number in range(100):
        event("archive", "uploading", done=first + number, total=1000, unit="bytes")
        if number % 50 == 0:
            progress.say(f"said {first + number}")
threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 800, 100)]
for one in threads: one.start()
for one in threads: one.join()
event("archive", "a LoRA is in the bucket", "done")
progress.end("done")
"""
    with drawn(code) as shown:
        assert shown.ended() == 0
        said = sorted(f"said {number}" for number in range(0, 800, 50))
        assert sorted(shown.lines[:-1]) == said
        assert shown.lines[-1].startswith("✓ archive   a LoRA is in the bucket")


def test_a_log_record_does_not_cut_through_the_line() -> None:
    code = """
import logging
from lora_prep.cli.session import Session
def work():
    event("train", "processing", done=1, unit="s")
    logging.getLogger("a").error("a record of a log")
    wait()
sys.exit(Session(progress=progress).run(work))
"""
    with drawn(code) as shown:
        shown.until("a record of a log")
        shown.until(lambda lines: len(lines) == 2)
        assert shown.lines[0] == "ERROR a: a record of a log"
        assert shown.lines[1][0] in SPINNING
        shown.type("\n")
        assert shown.ended() == 0


@pytest.mark.slow
def test_a_run_that_fails_ends_with_a_cross(tmp_path: Path) -> None:
    words = command("prepare", SAMPLE_DATA / "nine", "-o", tmp_path / "nine.zip")
    with terminal(*words) as shown:
        assert shown.ended() == 3
        assert re.match(r"✗ prepare   cropping +\d+\.\d s$", shown.lines[0])
        lines = shown.lines
        begin = next(at for at, line in enumerate(lines) if line.startswith("Add at least"))
        assert " ".join(lines[begin:-1]) == (  # broken between words, whatever the width
            "Add at least 1 sharp photo of the same person alone; the report shows every photo "
            "with its reason."
        )
        assert shown.lines[-1] == "[dataset_too_small]"
        assert is_left_clean(shown)


@pytest.mark.slow
def test_ctrl_c_leaves_the_screen_clean(module_home: Path) -> None:
    environment = own_environment(
        LORA_PREP_HOME=str(module_home), LORA_PREP_EMBEDDED__REHEARSAL_S="60"
    )
    words = command("run", SAMPLE_DATA / "people" / "ada")
    with terminal(*words, environment=environment) as shown:
        shown.until("processing")
        shown.type("\x03")
        assert shown.ended() == 130
        stages = [line.split()[:2] for line in shown.lines if re.match(r"[✓■✗]", line)]
        assert [mark for mark, _ in stages] == ["✓"] * (len(stages) - 1) + ["■"]
        assert stages[-1] == ["■", "train"]
        assert shown.lines[-4:][0] == "Stopped."
        assert shown.lines[-1] == "[interrupted]"
        assert is_left_clean(shown)
