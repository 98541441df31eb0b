"""Containers: every rule has one, what is in it agrees with the rest, and who needs it when.

`make test-containers` builds images and runs a study in them.
"""

import os
import re
import runpy
import shutil
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, copy_repository, replace_in, run, snakemake
from images import FAMILIES, digest, extras, image_file, packages
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DEFINITIONS = {family: (ROOT / f"containers/{family}.def").read_text() for family in FAMILIES}
# What runs without containers, each with the reason.
TARGETS = ("all", "baseline", "training", "containers")
OUTSIDE = dict.fromkeys(TARGETS, "runs nothing") | {"build_container": "makes them"}
IMAGE = re.compile(r"containers/(\w+)-[0-9a-f]{8}\.sif")


def rules() -> dict[str, str]:
    """The text of every rule of the workflow."""
    files = [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]
    parts = [
        part for file in files for part in re.split(r"^rule ", file.read_text(), flags=re.M)[1:]
    ]
    return {part.partition(":")[0]: part for part in parts}


def sections(definition: str) -> dict[str, str]:
    """The sections of an Apptainer definition; the first has no name."""
    parts = re.split(r"^%(\w+)\n", f"%header\n{definition}", flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_repository(tmp_path_factory.mktemp("containers"))


@pytest.mark.parametrize("name", sorted(rules().keys() - OUTSIDE.keys()))
def test_a_rule_has_an_environment_and_the_image_of_the_same_family(name: str) -> None:
    [environment] = re.findall(r'conda:\n +"../../envs/(\w+)\.yaml"\n', rules()[name])
    assert environment in FAMILIES
    assert f'container:\n        image_file("{environment}")\n' in rules()[name]
    assert f'image=image_needed("{environment}"),\n' in rules()[name]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_holds_what_the_environment_of_its_family_holds(family: str) -> None:
    definition = sections(DEFINITIONS[family])
    script = f"envs/{family}.post-deploy.sh"
    assert f"sh {script}\n" in definition["post"]
    for file in (script, "envs/constraints.txt", "pyproject.toml", "README.md"):
        assert f"{file} /opt/project/{file}\n" in definition["files"]
    command = (ROOT / script).read_text()
    chosen = f'".[{",".join(extras(family))}]"'
    assert (
        command == f"python -m pip install --constraint envs/constraints.txt --editable {chosen}\n"
    )
    environment = (ROOT / f"envs/{family}.yaml").read_text()
    python, pip = yaml.safe_load(environment)["dependencies"]
    assert f" another environment: {packages(family)}\n" in environment
    assert (python, pip) == ("python =3.11", "pip")
    assert "python3.11 -m venv" in definition["post"] and "(3, 11)" in definition["test"]


def test_a_pin_is_marked_with_the_families_that_install_it() -> None:
    """All four where it has no mark; only the workflow or the tests where no family does."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    options, common = project["optional-dependencies"], project["dependencies"]
    users = {
        family: needed([*common, *(name for extra in extras(family) for name in options[extra])])
        for family in FAMILIES
    } | {extra: needed(options[extra]) for extra in ("workflow", "tests")}
    pinned = [
        line.partition("  # ")
        for line in (ROOT / "envs/constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    expected = []
    for pin, _, _ in pinned:
        name = canonicalize_name(pin.partition("==")[0])
        found = [user for user, names in users.items() if name in names]
        chosen = [user for user in found if user in FAMILIES] or found
        expected.append((pin, "" if chosen == list(FAMILIES) else " ".join(chosen)))
    assert [(pin, mark) for pin, _, mark in pinned] == expected


def needed(requirements: list[str]) -> set[str]:
    """All packages that installing these brings, as those that are installed here declare it."""
    waiting, found = [Requirement(text) for text in requirements], set()
    while waiting:
        one = waiting.pop()
        for extra in ("", *one.extras):
            if (canonicalize_name(one.name), extra) not in found:
                found.add((canonicalize_name(one.name), extra))
                declared = map(Requirement, requires(one.name) or [])
                waiting += [
                    r for r in declared if not r.marker or r.marker.evaluate({"extra": extra})
                ]
    return {name for name, _ in found}


def test_definitions_differ_only_in_what_their_family_needs() -> None:
    """Base, labels, environment and the files of the project are the same in all."""
    for name in ("arguments", "labels", "setup", "files", "environment"):
        texts = {
            re.sub(rf"\b{family}\b", "FAMILY", sections(text)[name])
            for family, text in DEFINITIONS.items()
        }
        assert len(texts) == 1, name
    for family, text in DEFINITIONS.items():
        assert text.startswith("Bootstrap: {{ bootstrap }}\nFrom: {{ base }}\n")
        assert set(sections(text)) >= {"labels", "test", "help"}, family


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("envs/constraints.txt", "numpy==", "numpy==1", set(FAMILIES)),
        ("envs/constraints.txt", "matplotlib==", "matplotlib==1", {"analysis"}),
        ("envs/constraints.txt", "ruff==", "ruff==1", set()),
        ("containers/training.def", "%post", "%post\n    true", {"training"}),
        ("envs/rollouts.post-deploy.sh", "mle-dojo,", "", {"rollouts"}),
        (
            "pyproject.toml",
            '"statsmodels"',
            '"statsmodels", "six"',
            {"analysis", "competitions", "rollouts"},
        ),
        ("pyproject.toml", '"mypy"', '"mypy", "six"', set()),
        ("README.md", "Snakemake", "snakemake", set()),
    ],
)
def test_an_image_whose_content_changes_has_another_name(
    tmp_path: Path, file: str, old: str, new: str, changed: set[str]
) -> None:
    folder = copy_repository(tmp_path)
    replace_in(folder, file, old, new)
    code = "import images; print(*map(images.image_file, images.FAMILIES))"
    done = run(folder / "workflow/rules", "python", "-c", code)
    names = dict(zip(FAMILIES, done.stdout.split(), strict=True))
    assert {family for family in FAMILIES if names[family] != image_file(family)} == changed


def test_without_containers_no_image_is_asked_for(folder: Path) -> None:
    done = snakemake(folder, "--dry-run", "--cores", "2")
    assert done.returncode == 0, done.stderr
    assert "rule headline:" in done.stdout
    assert ".sif" not in done.stdout and "build_container" not in done.stdout


@pytest.fixture
def in_containers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a dry run believes that there is an Apptainer; it asks only for its version."""
    runtime = folder / "runtime"
    runtime.mkdir(exist_ok=True)
    shutil.copy2(ROOT / "tests/containers/bubblewrap_runtime.py", runtime / "apptainer")
    monkeypatch.setenv("PATH", f"{runtime}:/usr/bin:/bin")
    return folder


def test_in_containers_every_job_waits_for_its_image(in_containers: Path) -> None:
    done = snakemake(in_containers, "--dry-run", "--cores", "2", "--sdm", "apptainer")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^build_container +4$", done.stdout, re.M)
    jobs = re.findall(r"^(?:local)?rule (\w+):\n    input: (.*)$", done.stdout, re.M)
    needed = {rule: set(IMAGE.findall(inputs)) for rule, inputs in jobs if rule not in OUTSIDE}
    assert needed["base_model"] == needed["evaluate"] == {"rollouts"}
    assert needed["train_rl"] == {"training"}
    assert needed["prepare_competition"] == needed["evaluate_yardsticks"] == {"competitions"}
    assert needed["headline"] == needed["plot_time_split"] == {"analysis"}
    assert all(len(images) == 1 for images in needed.values())


def test_an_image_that_was_brought_is_used_whatever_its_age(in_containers: Path) -> None:
    images = [in_containers / image_file(family) for family in FAMILIES]
    for image in images:
        image.touch()
    done = snakemake(in_containers, "--dry-run", "--cores", "2", "--sdm", "apptainer")
    (in_containers / "envs/constraints.txt").touch()
    again = snakemake(in_containers, "--dry-run", "--cores", "2", "--sdm", "apptainer")
    for image in images:
        image.unlink()
    assert "rule headline:" in done.stdout and "rule headline:" in again.stdout
    assert not re.search(r"^rule build_container:$", done.stdout + again.stdout, re.M)


def test_conda_within_containers_is_refused(in_containers: Path) -> None:
    done = snakemake(in_containers, "--dry-run", "--cores", "2", "--sdm", "apptainer", "conda")
    assert done.returncode == 1
    assert "error: --sdm conda apptainer: the containers have no conda" in done.stderr


def test_a_build_takes_packages_from_where_this_machine_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mirror/simple", "wheels", "certificates"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "certificates/ours.pem").touch()
    (tmp_path / "pip.conf").write_text(
        f"[global]\nindex-url = file://{tmp_path}/mirror/simple\nfind-links = /nowhere\n"
        f"cert = {tmp_path}/certificates/ours.pem\n[install]\nuser = true\n"
    )
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    script = runpy.run_path(str(ROOT / "scripts/build_container.py"))
    settings = script["pip_settings"]()
    own = {name: value for name, value in settings.items() if str(tmp_path) in value}
    assert own == {
        "PIP_INDEX_URL": f"file://{tmp_path}/mirror/simple",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "PIP_CERT": str(tmp_path / "certificates/ours.pem"),
    }
    assert "PIP_USER" not in settings
    bound = [tmp_path / name for name in ("certificates", "mirror", "wheels")]
    assert script["bound_folders"](own) == bound


def test_a_base_that_is_not_there_is_named(tmp_path: Path) -> None:
    options = ["--definition", "containers/analysis.def", "--base", "none.sif"]
    script = "scripts/build_container.py"
    done = run(ROOT, "python", script, *options, "--output", str(tmp_path / "image.sif"))
    assert done.returncode == 1
    told = "error: container_base: no file or folder none.sif; an address has a scheme://\n"
    assert done.stderr == told


def test_all_images_are_built_on_request(folder: Path) -> None:
    done = snakemake(folder, "--dry-run", "--cores", "2", "containers")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^build_container +4$", done.stdout, re.M)
    assert all(digest(family) in done.stdout for family in FAMILIES)
