"""From a folder of photos to an archived LoRA, as its user runs it, on real parts."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from PIL import Image, ImageChops, ImageStat
from safetensors import safe_open

from lora_prep.embedded import EmbeddedOptions, Services, use_services
from tests.cli.command import SAMPLE_DATA, Done, command, lora_prep
from tests.cli.schemas import valid

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.slow
ADA = SAMPLE_DATA / "people" / "ada"
README_PICTURE = SAMPLE_DATA.parent / "docs" / "pictures" / "contact_sheet.jpg"


@pytest.fixture(scope="module")
def whole(module_environment: dict[str, str]) -> Done:
    """One run of the command for the sample person; every test looks at another side of it."""
    done = subprocess.run(
        command("run", ADA, "--json"),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=module_environment,
        timeout=120,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def services(home: Path, whole: Done) -> Services:
    with use_services(home, EmbeddedOptions(rehearsal_s=0)) as running:
        return running


@pytest.fixture
def s3(services: Services) -> S3Client:
    """Plain boto3, as any other program would use the bucket."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=services.store_endpoint_url,
        region_name=services.store_region,
        aws_access_key_id=services.store_access_key,
        aws_secret_access_key=services.store_secret_key,
    )


def folder_of(whole: Done) -> Path:
    return Path(whole.json["report"]).parent


def objects(s3: S3Client) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket="lora-prep").get("Contents", [])]


def test_the_answer_is_the_contract_s_object(whole: Done) -> None:
    assert whole.status == 0, whole.stderr
    answer = whole.json
    valid(answer, "run")
    assert (answer["name"], answer["status"]) == ("ada", "archived")
    assert (answer["rehearsal"], answer["reused"]) == (True, False)
    assert answer["dataset"]["images"] == 16
    assert answer["dataset"]["url_host"] == "127.0.0.1"
    assert answer["training"]["model"] == "wavespeed-ai/wan-14b-trainer"
    assert (answer["training"]["trigger_word"], answer["training"]["steps"]) == ("p3r5on", 2000)
    assert [lora["role"] for lora in answer["loras"]] == ["single"]
    assert set(answer["seconds"]) == {"prepare", "upload", "train", "archive"}
    assert answer["inspection"]["selected"] == 16


def test_the_first_and_the_last_line_say_rehearsal(whole: Done) -> None:
    lines = whole.stderr.splitlines()
    assert lines[0].startswith("Rehearsal:")
    assert "rehearsal" in lines[-1]
    assert not any("\x1b" in line for line in lines)  # no colours where no terminal is


def test_the_lora_in_the_bucket_opens_with_plain_tools(whole: Done, s3: S3Client) -> None:
    (lora,) = whole.json["loras"]
    bucket, _, key = lora["url"].removeprefix("s3://").partition("/")
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    assert (hashlib.sha256(body).hexdigest(), len(body)) == (lora["sha256"], lora["bytes"])
    path = folder_of(whole) / "lora" / "1.safetensors"
    assert path.read_bytes() == body
    with safe_open(path, framework="numpy") as file:
        assert len(list(file.keys())) == 800
        assert file.metadata()["rehearsal"] == "true"
        name = "diffusion_model.blocks.39.ffn.2.lora_{}.weight"
        assert file.get_tensor(name.format("B")).any() == False  # noqa: E712  a numpy bool
        assert file.get_tensor(name.format("A")).any()
        assert file.get_tensor(name.format("A")).shape == (lora["rank"], 13824)


def test_the_sidecar_names_the_files_and_no_person(whole: Done, s3: S3Client) -> None:
    key = f"loras/{whole.json['run']}/lora.json"
    sidecar = json.loads(s3.get_object(Bucket="lora-prep", Key=key)["Body"].read())
    (file,) = sidecar["files"]
    assert file["sha256"] == whole.json["loras"][0]["sha256"]
    assert file["key"] in objects(s3)
    dataset = sidecar["dataset"]
    assert (dataset["sha256"], dataset["images"]) == (whole.json["dataset"]["sha256"], 16)
    with zipfile.ZipFile(folder_of(whole) / "dataset.zip") as zipped:
        crops = [hashlib.sha256(zipped.read(name)).hexdigest() for name in zipped.namelist()]
    assert dataset["image_sha256"] == crops
    assert sidecar["training"]["prediction_id"] == whole.json["training"]["prediction_id"]
    assert "ada" not in re.findall(r"\w+", json.dumps(sidecar))
    assert "http" not in json.dumps(sidecar)


def test_the_data_set_is_gone_from_the_bucket_and_no_key_names_anyone(
    whole: Done, s3: S3Client
) -> None:
    keys = objects(s3)
    assert whole.json["dataset"]["object"].removeprefix("s3://lora-prep/") not in keys
    assert [key for key in keys if key.endswith(".zip")] == []
    assert not any("ada" in key for key in keys)


def test_the_zip_is_flat_neutral_and_without_metadata(whole: Done) -> None:
    path = folder_of(whole) / "dataset.zip"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == whole.json["dataset"]["sha256"]
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [f"{number:04d}.jpg" for number in range(1, 17)]
        for name in archive.namelist():
            data = archive.read(name)
            with Image.open(io.BytesIO(data)) as crop:
                assert crop.size[0] == crop.size[1] >= 512
                assert not crop.getexif()
                assert set(crop.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
            assert b"Synthetica" not in data  # the camera the sample photos name


def test_the_trainer_accepted_exactly_one_task(whole: Done, services: Services) -> None:
    answer = httpx.get(
        f"{services.trainer_url}/_service/stats",
        headers={"Authorization": f"Bearer {services.trainer_key}"},
    )
    ended = {"accepted": 1, "completed": 1, "failed": 0, "consistent": True}
    assert answer.json() == ended


def test_no_secret_was_written_down(whole: Done, services: Services, home: Path) -> None:
    """Keys may lie in the services' own private files and nowhere else."""
    secrets = [
        services.store_access_key,
        services.store_secret_key,
        services.trainer_key,
        "X-Amz-Signature",
        "X-Amz-Credential",
    ]
    seen = {path: path.read_bytes() for path in (home / "runs").rglob("*") if path.is_file()}
    seen |= {path: path.read_bytes() for path in (home / "services" / "logs").rglob("*.log")}
    assert len(seen) > 20
    for secret in secrets:
        for path, data in seen.items():
            assert secret.encode() not in data, f"{secret[:4]}... in {path.name}"
        assert secret not in whole.stdout + whole.stderr
    for path in (home / "runs").rglob("*"):
        assert (home / "runs").stat().st_mode & 0o077 == 0, path


def test_the_report_and_the_sheet_are_there(whole: Done, home: Path) -> None:
    page = Path(whole.json["report"]).read_text(encoding="utf-8")
    assert page.count("ada_") >= 16
    assert "ehearsal" in page
    assert whole.json["loras"][0]["sha256"] in page
    assert page.count("Crop 00") == page.count("the square that is cut") == 16
    assert "LoRA verified and archived" in page
    told = re.sub(r"data:image[^\"]+", "", page)
    for secret in (str(home), str(ADA), str(Path.home()), "X-Amz", "http://", "https://", "file:"):
        assert secret not in told
    with Image.open(folder_of(whole) / "contact_sheet.jpg") as sheet:
        assert sheet.width == 1600
        with Image.open(README_PICTURE) as shown:
            assert shown.size == sheet.size
            assert max(ImageStat.Stat(ImageChops.difference(shown, sheet)).mean) < 1


def test_originals_are_untouched(whole: Done) -> None:
    listed = {
        match[1]: match[2]
        for match in re.finditer(
            r"\| ada/(\S+) \|.*\| ([0-9a-f]{64}) \|", (SAMPLE_DATA / "README.md").read_text()
        )
    }
    assert len(listed) == 16
    for name, sha256 in listed.items():
        assert hashlib.sha256((ADA / name).read_bytes()).hexdigest() == sha256


def test_the_single_stages_make_the_same_way(whole: Done, home: Path, tmp_path: Path) -> None:
    data_set = tmp_path / "set.zip"
    prepared = lora_prep("prepare", ADA, "-o", data_set, "--json")
    assert prepared.json["dataset"]["sha256"] == whole.json["dataset"]["sha256"]
    uploaded = lora_prep("upload", data_set, "--json")
    valid(uploaded.json, "upload")
    url = uploaded.json["url"]
    assert hashlib.sha256(httpx.get(url).content).hexdigest() == uploaded.json["sha256"]
    trained = subprocess.run(
        command("train", "-", "--json", "--steps", "1000"),
        input=url + "\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert trained.returncode == 0, trained.stderr
    valid(json.loads(trained.stdout), "train")
    assert "Signature" not in trained.stdout + trained.stderr
    prediction = json.loads(trained.stdout)["training"]["prediction_id"]
    again = lora_prep("train", url, "--json").json  # asked for twice: a run of its own
    assert again["run"] != json.loads(trained.stdout)["run"]
    assert again["training"]["prediction_id"] != prediction
    for _ in range(2):  # archiving again changes nothing
        archived = lora_prep("archive", prediction, "--json")
        assert archived.status == 0, archived.stderr
        valid(archived.json, "archive")
    assert archived.json["rehearsal"] is True
    assert httpx.get(url).status_code == 404  # the zip of `upload` is deleted, too


def test_a_zip_that_is_no_training_set_fails_at_the_trainer(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "ten.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(10):
            archive.writestr(f"{number}.jpg", b"no picture")
    uploaded = lora_prep("upload", path)
    assert "The link works until" in uploaded.stderr
    url = uploaded.stdout.strip()
    failed = lora_prep("train", url)
    assert (failed.status, failed.error_code) == (6, "training_failed")
    assert "1401" in failed.stderr
    assert httpx.get(url).status_code == 404  # no training needs the photos any more
    small = tmp_path / "one.zip"
    with zipfile.ZipFile(small, "w") as archive:
        archive.writestr("1.jpg", b"x")
    assert lora_prep("upload", small).status == 3
    assert lora_prep("upload", tmp_path / "none.zip").status == 2


def test_what_does_not_exist_at_the_trainer_is_said(home: Path) -> None:
    done = lora_prep("archive", "0" * 32)
    assert (done.status, done.error_code) == (8, "result_expired")
    assert lora_prep("train", "not-a-url").status == 2


def test_the_store_commands(home: Path) -> None:
    up = lora_prep("store", "up", "--json")
    valid(up.json, "store-up")
    lines = lora_prep("store", "up").stdout
    assert f"export AWS_SECRET_ACCESS_KEY={up.json['secret_access_key']}" in lines
    status = lora_prep("store", "status", "--json")
    valid(status.json, "store-status")
    assert status.json["running"] is True
    down = lora_prep("store", "down", "--json")
    valid(down.json, "store-down")
    assert down.json["stopped"] is True
    assert lora_prep("store", "status", "--json").json["running"] is False
    assert lora_prep("store", "down", "--json").json["stopped"] is False
