"""Where a study's results come from, and the crate that says so."""

import json
from pathlib import Path

import pytest
from checkout import run
from version import code_version

from agent.evaluation.crate import FOLDERS, crate
from agent.evaluation.provenance import describe_study, sha256

MACHINE = {"host": "here", "cpu": "A processor", "gpus": []}
LOADED = {"python": "3.11.2", "numpy": "2.1"}
TURNS = "sandbox\nnamespaces\nnamespaces\nlandlock\n"


def job(rule: str, started: float, **more: object) -> str:
    known = {"rule": rule, "job": "x", "started": started, "ended": started + 5}
    known |= {"machine": MACHINE, "loaded": LOADED}
    return json.dumps(known | more)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name, text in {
        "one.json": job(
            "train_rl", 100.0, slurm_job="17", loaded=LOADED | {"numpy": "2.2", "torch": "2.9"}
        ),
        "two.json": job("train_rl", 200.0, slurm_job=None, machine=MACHINE | {"host": "there"}),
        "turns.csv": TURNS,
        "scores.csv": "a\n1\n",
        "pins.txt": "numpy==1\n",
        "wine/competition.json": "{}",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def described(folder: Path, images: tuple[Path, ...] = ()) -> dict:
    config = {"study": "smoke", "seeds": [0, 1]}
    files = [Path("one.json"), Path("two.json")]
    wine = Path("wine/competition.json")
    made = (Path("turns.csv"), {"scores.csv": Path("scores.csv")})
    return describe_study(config, code_version(), images, Path("pins.txt"), [wine], files, *made)


def test_facts_are_what_the_files_say(folder):
    facts = described(folder, (Path("pins.txt"),))
    assert facts["seeds"] == [0, 1] and facts["slurm_jobs"] == ["17"]
    assert facts["seconds"] == {"train_rl": 10.0}
    assert facts["machines"] == {"count": 2, "cpus": ["A processor"], "gpus": []}
    assert (facts["started"], facts["ended"]) == (100.0, 205.0)
    assert facts["turns_by_sandbox"] == {"landlock": 1, "namespaces": 2}
    assert facts["competitions_sha256"] == {"wine": sha256(Path("wine/competition.json"))}
    assert facts["containers"] == {"pins.txt": facts["constraints_sha256"]}
    assert facts["packages"]["numpy"]
    assert facts["loaded"] == {"numpy": ["2.1", "2.2"], "python": ["3.11.2"], "torch": ["2.9"]}
    assert set(facts["unknown"]) == {"commit", "dirty", "repository", "energy_kwh"}


def test_a_commit_and_its_changes_are_known(folder):
    for words in (["init", "-q"], ["add", "pins.txt"]):
        assert run(folder, "git", *words).returncode == 0
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    assert run(folder, "git", *who, "commit", "-qm", "one").returncode == 0
    facts = described(folder)
    head = run(folder, "git", "rev-parse", "HEAD").stdout.strip()
    assert (facts["commit"], facts["dirty"]) == (head, True)
    assert "containers" in facts["unknown"] and facts["containers"] is None


@pytest.mark.parametrize(
    ("origin", "known"),
    [
        ("https://me:secret@example.org/some/study.git", "https://example.org/some/study.git"),
        ("git@example.org:some/study.git", None),
        ("/some/study", None),
    ],
)
def test_the_address_of_a_clone_is_known_without_its_password(folder, origin, known):
    for words in (["init", "-q"], ["remote", "add", "origin", origin]):
        assert run(folder, "git", *words).returncode == 0
    facts = described(folder)
    assert facts["repository"] == known and ("repository" in facts["unknown"]) == (known is None)
    entities = {entity["@id"]: entity for entity in crate(facts, "Snakefile", "9.1")["@graph"]}
    assert entities["Snakefile"].get("url") == entities["#authors"].get("url") == known


def test_every_entity_of_the_crate_is_there_and_described(folder):
    facts = described(folder, (Path("pins.txt"),))
    made = crate(facts, "Snakefile", "9.1")
    entities = {entity["@id"]: entity for entity in made["@graph"]}
    assert len(entities) == len(made["@graph"])
    parts = {part["@id"] for part in entities["./"]["hasPart"]}
    results = {"provenance.json", "scores.csv", *FOLDERS, "seed0/", "seed1/"}
    assert parts == {"Snakefile", "README.md", *results} < set(entities)
    run = entities["#run"]
    assert {part["@id"] for part in run["result"]} == results
    assert [part["@id"] for part in run["object"]] == ["#config", "#competition-wine"]
    wine = entities["#competition-wine"]["sha256"]
    assert wine == facts["competitions_sha256"]["wine"] == sha256(Path("wine/competition.json"))
    assert [entities[image["@id"]]["sha256"] for image in run["containerImage"]] == [
        facts["constraints_sha256"]
    ]
    assert "Data of competitions" in entities[entities["./"]["license"]["@id"]]["description"]
    bare = crate(described(folder), "Snakefile", "9.1")["@graph"]
    assert not [entity for entity in bare if "containerImage" in entity]
    assert entities["#run"]["startTime"] == "1970-01-01T00:01:40+00:00"
    assert entities["scores.csv"]["sha256"] == sha256(Path("scores.csv"))
    assert entities[entities["./"]["mainEntity"]["@id"]]["version"] == "unknown"
