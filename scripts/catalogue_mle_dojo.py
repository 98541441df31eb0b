"""Write the catalogue of MLE-Dojo's competitions from a checkout."""

import ast
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import tyro

from agent.competitions.catalogue import CATALOGUE, COLUMNS, CatalogueEntry, row_of
from agent.core.errors import one_line_errors
from agent.core.files import write_text
from agent.wrappers.mledojo_checkout import verify_checkout

NO_PAGE: dict[str, Any] = {"data_info": {}, "tags": []}  # two are in no list of pages
MEGABYTES = {"kB": 0.001, "MB": 1.0, "GB": 1000.0}
# Run with the checkout on the path; an empty module stands for a package that is not installed,
# as classes are made here and nothing is scored.
PROBE = """
import importlib.util, json, sys, types
from mledojo.competitions import get_metric
found = {}
for slug, packages in json.load(sys.stdin).items():
    for name in packages:
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__getattr__ = lambda attribute: None
    metric = get_metric(slug)
    found[slug] = [metric.__name__, bool(metric().higher_is_better)]
print(json.dumps(found))
"""


def main(checkout_dir: Path, commit: str, output: Path = CATALOGUE) -> None:
    """Catalogue a checkout.

    Args:
        checkout_dir: a checkout of MLE-Dojo.
        commit: the commit it must be at.
        output: the file to write.
    """
    verify_checkout(checkout_dir, commit)
    entries = catalogue(checkout_dir.resolve())
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    rows.writeheader()
    rows.writerows(row_of(entry) for entry in entries)
    write_text(output, text.getvalue())


def catalogue(checkout: Path) -> list[CatalogueEntry]:
    """Every competition: the evaluation split by category first, then training, by slug."""
    groups = _json(checkout / "mledojo/competitions/competition.json")
    categories = {slug: name for name, slugs in groups["Evaluation"].items() for slug in slugs}
    slugs = sorted([*categories, *groups["Training"]], key=lambda s: (s not in categories, s))
    pages = _json(checkout / "prepare/mle.json") | _json(checkout / "prepare/dsbench.json")
    licences = _json(checkout / "prepare/licenses.json")
    packages = {slug: metric_packages(_script(checkout, slug, "metric")) for slug in slugs}
    metrics = probe(checkout, packages)
    return [
        CatalogueEntry(
            slug=slug,
            split="evaluation" if slug in categories else "training",
            category=categories.get(slug, ""),
            metric=metrics[slug][0],
            higher_is_better=metrics[slug][1],
            metric_packages=packages[slug],
            licence_link=licences[slug],
            page=licences[slug].removesuffix("/rules"),
            **preparation(checkout, slug),
            **boards(checkout / "mledojo/competitions" / slug / "info"),
            **page(pages.get(slug, NO_PAGE)),
        )
        for slug in slugs
    ]


def probe(checkout: Path, packages: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, bool]]:
    """Name and direction of every metric class, as the checkout itself loads them."""
    names = {slug: [name.partition("<")[0] for name in found] for slug, found in packages.items()}
    environment = os.environ | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps(names),
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{checkout}: its metrics cannot be loaded: {last}")
    return json.loads(done.stdout)


def imported(tree: ast.AST) -> set[str]:
    """Top-level packages that code imports, wherever in it, beyond the standard library."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module))
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names


def metric_packages(tree: ast.AST) -> tuple[str, ...]:
    """What a metric imports; numpy bears a limit where it calls a function that 2.4 lacks."""
    packages = imported(tree) - {"mledojo"}
    if any(isinstance(node, ast.Attribute) and node.attr == "trapz" for node in ast.walk(tree)):
        packages = packages - {"numpy"} | {"numpy<2.4"}
    return tuple(sorted(packages))


def preparation(checkout: Path, slug: str) -> dict[str, Any]:
    """Whether a competition's own prepare script does anything, and which packages it imports."""
    script = _script(checkout, slug, "prepare")
    if not any(isinstance(node, ast.FunctionDef) for node in script.body):
        obstacle = "prepare script is an empty stub; prepare/dsbench.py fetches these together"
        return {
            "source": "dsbench",
            "preparable": False,
            "obstacle": obstacle,
            "prepare_packages": (),
        }
    packages = imported(script)
    if "mledojo" in packages:
        packages |= imported(_parsed(checkout / "mledojo/competitions/utils.py"))
    return {
        "source": "kaggle",
        "preparable": True,
        "obstacle": "",
        "prepare_packages": tuple(sorted(packages - {"mledojo", "kaggle"})),
    }


def boards(info: Path) -> dict[str, Any]:
    private, public = (
        (info / f"{half}_leaderboard.csv").read_text(encoding="utf-8").split("\n", 1)[1].split()
        for half in ("private", "public")
    )
    return {
        "private_rows": len(private),
        "public_rows": len(public),
        "same_boards": private == public,
    }


def page(facts: dict[str, Any]) -> dict[str, Any]:
    """What the competition's page said of its data when MLE-Dojo was made."""
    number, _, unit = facts["data_info"].get("size", "").partition(" ")
    return {
        "size_mb": round(float(number.replace(",", "")) * MEGABYTES[unit], 6) if unit else None,
        "licence": facts["data_info"].get("license", ""),
        "tags": tuple(facts["tags"]),
    }


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _script(checkout: Path, slug: str, name: str) -> ast.Module:
    return _parsed(checkout / f"mledojo/competitions/{slug}/utils/{name}.py")


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
