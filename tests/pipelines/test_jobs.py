"""What a batch is to do is read from TOML and CSV; what cannot be used is told before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_prep.errors import ConfigurationError, NotAPhotoFolder, UnknownSetting
from lora_prep.settings import Settings, load_settings
from pipelines.job_files import COLUMNS, SECTIONS
from pipelines.jobs import Job, Sections, expand, read_jobs
from tests.sample import SAMPLE_DATA, examples

SECRET = "wsk-0123456789abcdef"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder of the jobs file, with three people, a hidden folder, a NAS's and a file."""
    for name in ("ada", "ben", "cleo", ".hidden", "@eaDir"):
        (tmp_path / "people" / name).mkdir(parents=True)
    (tmp_path / "people" / "list.txt").write_text("no folder")
    return tmp_path


def toml(here: Path, text: str, base: Sections | None = None) -> tuple[Job, ...]:
    path = here / "jobs.toml"
    path.write_text(text, encoding="utf-8")
    return read_jobs(path, base or {})


def table(here: Path, text: str, encoding: str = "utf-8") -> tuple[Job, ...]:
    path = here / "jobs.csv"
    path.write_bytes(text.encode(encoding))
    return read_jobs(path, {})


def refused(here: Path, text: str, **kind: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as refusal:
        (table if kind.get("csv") else toml)(here, text)
    return refusal.value


# ── what jobs come of it ──────────────────────────────────────────────────────────────────────


def test_the_sample_makes_a_job_for_ada_and_one_for_ben() -> None:
    ada, ben = read_jobs(SAMPLE_DATA / "jobs.toml", {})
    assert (ada.name, ben.name) == ("ada", "ben")
    assert Path(ada.folder) == SAMPLE_DATA / "people" / "ada"
    assert load_settings(ada.sections).trainer.trigger_word == "p3r5on"


def test_a_job_lies_on_the_defaults_and_these_on_the_base(here: Path) -> None:
    first, second = toml(
        here,
        """
        [defaults]
        steps = 1100
        trainer.learning_rate = 0.0002
        dataset.max_images = 20
        model = "wavespeed-ai/wan-2.1-14b-lora-trainer"

        [[job]]
        folder = "people/ada"
        name = "Ada"
        steps = 1200
        [job.dataset]
        framing = "close-up"

        [[job]]
        folder = "people/ben/"
        trigger_word = "b3n"
        """,
        {"trainer": {"steps": 1000, "max_cost_usd": 5}, "store": {"url": "s3://bucket"}},
    )
    assert (first.name, second.name) == ("Ada", "ben")
    assert (first.where, second.where) == ("job 1", "job 2")
    ada, ben = load_settings(first.sections), load_settings(second.sections)
    assert (ada.trainer.steps, ben.trainer.steps) == (1200, 1100)
    assert (ada.dataset.framing, ben.dataset.framing) == ("close-up", "head-and-shoulders")
    assert (ada.trainer.trigger_word, ben.trainer.trigger_word) == ("p3r5on", "b3n")
    assert ada.dataset.max_images == ben.dataset.max_images == 20
    assert ada.trainer.max_cost_usd == ben.trainer.max_cost_usd == 5
    assert ada.store.url == "s3://bucket"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(("comma", "end"), [(",", "\n"), (";", "\r\n"), (",", "\r")])
def test_a_csv_file_of_any_spreadsheet(here: Path, encoding: str, comma: str, end: str) -> None:
    lines = ["folder,name,steps,", "people/ada,Ada,1500,", ",,,", 'people/ben,"Ben",', "people/*"]
    text = end.join(lines[:4]).replace(",", comma) + end
    ada, ben = table(here, text, encoding)
    assert (ada.name, ada.where, ben.name, ben.where) == ("Ada", "line 2", "Ben", "line 4")
    assert ada.sections == {"trainer": {"steps": "1500"}}
    assert load_settings(ada.sections).trainer.steps == 1500
    assert ben.sections == {}


def test_a_pattern_makes_a_job_of_each_folder_in_order(here: Path) -> None:
    jobs = toml(here, '[[job]]\nfolder = "people/*"')
    assert [job.name for job in jobs] == ["ada", "ben", "cleo"]
    assert [job.name for job in toml(here, f'[[job]]\nfolder = "{here}/people/[ab]*"')] == [
        "ada",
        "ben",
    ]


def test_a_folder_may_be_named_like_a_pattern(here: Path) -> None:
    (here / "ada [2020]*").mkdir()
    (job,) = toml(here, '[[job]]\nfolder = "ada [2020]*"')
    assert job.folder == str(here / "ada [2020]*")


def test_a_jobs_file_may_lie_in_a_folder_named_like_a_pattern(here: Path) -> None:
    (here / "[x]" / "people" / "ada").mkdir(parents=True)
    (job,) = toml(here / "[x]", '[[job]]\nfolder = "people/*"')
    assert job.folder == str(here / "[x]" / "people" / "ada")


def test_folders_are_absolute_wherever_the_file_is_read_from(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "jobs.toml").write_text('[[job]]\nfolder = "people/ada"\n[[job]]\nfolder = "~/x"')
    (here / "x").mkdir()
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.chdir(here / "people")
    ada, x = read_jobs(Path("../jobs.toml"), {})
    assert Path(ada.folder).is_absolute()
    assert Path(ada.folder).samefile(here / "people" / "ada")
    assert Path(x.folder).samefile(here / "x")


def test_a_folder_with_dots_is_named_after_what_it_is(here: Path) -> None:
    (job,) = toml(here / "people", '[[job]]\nfolder = "ada/.."')
    assert job.name == "people"


def test_the_reference_photo_lies_beside_the_jobs_file(here: Path) -> None:
    (here / "ada.jpg").write_bytes(b"")
    (job,) = toml(here, '[[job]]\nfolder = "people/ada"\nreference = "ada.jpg"')
    assert job.sections["dataset"]["reference"] == str(here / "ada.jpg")
    error = refused(here, '[[job]]\nfolder = "people/ada"\nreference = "ben.jpg"')
    assert str(here / "ben.jpg") in error.what


# ── buckets ───────────────────────────────────────────────────────────────────────────────────


def test_a_bucket_is_a_folder_and_is_listed_later(here: Path) -> None:
    text = "".join(f'[[job]]\nfolder = "{url}"\n' for url in ("s3://b/x/cleo/", "s3://b/people/*"))
    cleo, people = toml(here, text + 'steps = 1500\n[[job]]\nfolder = "s3://b"')[:2]
    assert (cleo.name, cleo.folder, cleo.many) == ("cleo", "s3://b/x/cleo", False)
    assert people.many
    asked = []

    def list_prefixes(url: str) -> list[str]:
        asked.append(url)
        return ["ben", ".hidden", "ada"]

    jobs = expand([cleo, people], list_prefixes)
    assert asked == ["s3://b/people"]
    assert [job.name for job in jobs] == ["cleo", "ada", "ben"]
    assert jobs[1].folder == "s3://b/people/ada"
    assert jobs[1].sections == {"trainer": {"steps": 1500}}
    assert not any(job.many for job in jobs)


@pytest.mark.parametrize(("names", "said"), [([], "No folder matches"), (["cleo"], "twice")])
def test_what_is_listed_later_is_checked_then(here: Path, names: list[str], said: str) -> None:
    jobs = toml(here, '[[job]]\nfolder = "s3://b/*"\n[[job]]\nfolder = "s3://x/cleo"')
    with pytest.raises(ConfigurationError, match=said) as refusal:
        expand(jobs, lambda _: names)
    assert refusal.value.what.startswith("Job ")


@pytest.mark.parametrize(
    "folder",
    [
        "s3://",
        "s3:///x",
        "s3://*",
        "s3://b/*/x",
        "s3://b/a*",
        "https://x.test/y?token=z",
        "file://x",
    ],
)
def test_what_is_no_folder_of_a_bucket(here: Path, folder: str) -> None:
    error = refused(here, f'[[job]]\nfolder = "{folder}"')
    assert "Job 1" in error.what
    assert "token=z" not in str(error)


# ── what is wrong ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("[defaults]\nsteps = 1500", "[[job]]"),
        ("[[job]]", "names no folder"),
        ("[[job]\n", "cannot be read"),
        ("x = " + "[" * 5000, "cannot be read"),
        (f"x = {'9' * 5000}", "cannot be read"),
        ("[job]\nfolder = 'people/ada'", "[[job]]"),
        ("job = 3", "[[job]]"),
        ("[[jobs]]", "'job'"),
        ("defaults = 3", "[defaults]"),
        ("[defaults]\nfolder = 'people/ada'\n[[job]]", "in [defaults]"),
        ("[[job]]\nfolder = 'people/dora'", "Job 1 of jobs.toml: There is no folder"),
        ("[[job]]\nfolder = 'people/list.txt'", "It is a file"),
        ("[[job]]\nfolder = 'none/*'", "No folder matches"),
        ("[[job]]\nfolder = '/'", "Give a name"),
        ("[[job]]\nfolder = 3", "no text"),
        ('[[job]]\nfolder = "people\\u0000"', "control character"),
        (f"[[job]]\nfolder = '{'x' * 5000}'", "There is no folder"),
        ("[[job]]\nfoldr = 'people/ada'", "'folder'"),
        ("[[job]]\nfolder = 'people/ada'\nengine.database_url = 'x'", "There is no 'engine'"),
        ("[[job]]\nfolder = 'people/ada'\ndataset.framng = 'mixed'", "dataset.framing"),
        ("[[job]]\nfolder = 'people/ada'\ndataset.framing = 'near'", "(jobs.toml)"),
        ("[[job]]\nfolder = 'people/ada'\ndataset = 3", "section"),
        ("[[job]]\nfolder = 'people/ada'\nsteps = 5", "trainer.steps"),
        ("[[job]]\nfolder = 'people/ada'\nsteps = {a = 5}", "trainer.steps"),
        ("[[job]]\nfolder = 'people/ada'\nmodel = 'none'", "none"),
        ("[[job]]\nfolder = 'people/ada'\nsteps = 1500\ntrainer.steps = 1600", "the same setting"),
        ("[[job]]\nfolder = 'people/*'\nname = 'ada'", "has a name"),
        ("[[job]]\nfolder = 'people/ada'\ndataset.overrides = 'none.toml'", "dataset.overrides"),
        ("[[job]]\nfolder='people/ada'\n[[job]]\nfolder='people/../people/ada'", "job 1, too"),
        ("[[job]]\nfolder='people/ada'\n[[job]]\nfolder='people/ben'\nname='ada'", "job 1, too"),
    ],
)
def test_toml_that_is_wrong_is_told_with_a_way_out(here: Path, text: str, said: str) -> None:
    error = refused(here, text)
    assert said in str(error)
    assert error.fix


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (";;\n", "holds no job"),
        ("folder,name\n", "below folder,name"),
        ("people/ada,Ada\n", "Known are folder"),
        ("folder,steps,stpes\n", "'steps'"),
        ("name\nada", "does not name the folder"),
        ("folder,folder\n", "twice"),
        ("folder\npeople/ada,Ada\n", "Line 2"),
        ('folder\n"people/ada', "cannot be read"),
        ("folder,name\npeople/ada,Ada\n\n,Ben\n", "Line 4 of jobs.csv: It names no folder"),
        ("folder\npeople/dora\n", "Line 2 of jobs.csv"),
        ("folder,steps\npeople/ada,many\n", "trainer.steps (jobs.csv)"),
        ("folder,name\npeople/ada,A\npeople/ben,A\n", "line 2, too"),
        (f"folder\n{'x' * 200_000}\n", "cannot be read"),
    ],
)
def test_a_csv_that_is_wrong_is_told_with_its_line(here: Path, text: str, said: str) -> None:
    assert said in str(refused(here, text, csv=True))


def test_a_file_of_another_encoding_or_kind_or_none_at_all(here: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        table(here, "folder\npeople/ada", "utf-16")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_jobs(here / "none.toml", {})
    with pytest.raises(ConfigurationError, match="neither TOML nor CSV"):
        read_jobs(here / "people" / "list.txt", {})


def test_the_kind_of_a_single_error_stays(here: Path) -> None:
    with pytest.raises(NotAPhotoFolder):
        toml(here, "[[job]]\nfolder = 'people/dora'")
    with pytest.raises(UnknownSetting):
        toml(here, "[[job]]\nfolder = 'people/ada'\ntrainer.step = 5")


def test_every_bad_job_is_told_at_once(here: Path) -> None:
    error = refused(
        here, "folder,steps\ndora,\npeople/ada,1\npeople/ben,1500\npeople/ben,", csv=True
    )
    assert "3 of the 4 jobs" in error.what
    for said in ("line 2: There is no folder", "line 3: ", "line 5: ", "line 4, too"):
        assert said in error.why


def test_what_is_wrong_with_the_base_is_said_of_the_flag(here: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"trainer.steps \(flag\)"):
        toml(here, "[[job]]\nfolder = 'people/ada'", {"trainer": {"steps": 0}})


@pytest.mark.parametrize(
    "line",
    [
        f'trainer.api_key = "{SECRET}"',
        f'api_key = "{SECRET}"',
        f'store.endpoint_url = "https://me:{SECRET}@s3.test"',
        f'folder = "s3://key:{SECRET}@bucket"',
        f'store.secret_key = ["{SECRET}"]',
    ],
)
def test_a_secret_is_refused_and_not_shown(here: Path, line: str) -> None:
    for text in (f"[[job]]\n{line}", f"[defaults]\n{line}\n[[job]]\nfolder = 'people/ada'"):
        error = refused(here, text)
        assert SECRET not in str(error)
    assert "secret" in refused(here, f"[[job]]\n{line}").what
    assert "secret" in refused(here, f"folder,api_key\npeople/ada,{SECRET}", csv=True).what


# ── hostile files ─────────────────────────────────────────────────────────────────────────────

TOKENS = st.sampled_from(
    [
        *("[[job]]\n", "[defaults]\n", "[job.dataset]\n", "folder", "name", "steps", "reference"),
        *("trainer.models", "dataset", " = ", "\n", "\r", ",", ";", '"', "'", "{", "}", "[", "]"),
        *("people/*", "people/ada", "s3://b/*", "../", "~", "*", "**", "\\u0000", "\x00", "\u202e"),
        *("1979-05-27T07:32:00Z", "nan", "-1", "1e999", "9" * 400, "true", "0x1", "a" * 300, "#"),
    ]
)


@pytest.mark.parametrize("name", ["jobs.toml", "jobs.csv"])
@given(text=st.one_of(st.lists(TOKENS, max_size=30).map("".join), st.text(max_size=60)))
@examples(150)
def test_whatever_stands_in_the_file_it_gives_jobs_or_our_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, text: str
) -> None:
    here = tmp_path_factory.getbasetemp() / "hostile"
    (here / "people" / "ada").mkdir(parents=True, exist_ok=True)
    (here / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    _either_or(here / name)


VALUES = st.one_of(
    st.sampled_from(["people/ada", "people/*", "s3://b/*", "1500", "\x00", "x" * 300, "~a", "//"]),
    st.text(max_size=8),
)


@given(rows=st.lists(st.lists(VALUES, min_size=1, max_size=6), min_size=1, max_size=4))
@examples(100)
def test_whatever_stands_below_a_good_header(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    here = tmp_path_factory.getbasetemp() / "hostile"
    (here / "people" / "ada").mkdir(parents=True, exist_ok=True)
    lines = ["folder,name,trigger_word,steps,model,reference", *(",".join(row) for row in rows)]
    (here / "rows.csv").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    _either_or(here / "rows.csv")


SETTINGS = [
    f"{section}.{name}"
    for section in SECTIONS
    for name in type(Settings.model_fields[section].default).model_fields
]
LITERALS = st.recursive(
    st.sampled_from(
        [
            *("nan", "-inf", "1e999", "-1", "0", "true", "9" * 400, "1979-05-27", "07:32:00"),
            *('""', '"\\u0000"', '"x"', '"s3://b"', '"wavespeed-ai/wan-14b-trainer"', "[]", "{}"),
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: f"[{', '.join(values)}]"),
        st.dictionaries(
            st.sampled_from(["a", "steps", "roles", "captions"]), inner, max_size=2
        ).map(
            lambda values: f"{{{', '.join(f'{name} = {value}' for name, value in values.items())}}}"
        ),
    ),
    max_leaves=6,
)


@given(values=st.dictionaries(st.sampled_from([*COLUMNS, *SETTINGS]), LITERALS, max_size=3))
@examples(150)
def test_whatever_value_a_setting_is_given(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]
) -> None:
    here = tmp_path_factory.getbasetemp() / "hostile"
    (here / "people" / "ada").mkdir(parents=True, exist_ok=True)
    lines = [f"{name} = {value}" for name, value in ({"folder": '"people/*"'} | values).items()]
    (here / "values.toml").write_text("\n".join(["[[job]]", *lines]))
    _either_or(here / "values.toml")


def _either_or(path: Path) -> None:
    try:
        jobs = read_jobs(path, {})
    except ConfigurationError as error:
        assert error.what
        assert error.why
        assert error.fix
    else:
        assert jobs
        assert len({job.name for job in jobs}) == len(jobs)
