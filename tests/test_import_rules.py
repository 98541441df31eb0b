"""Who may import whom, and how long a file and a function may be; planted violations are caught."""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

FILE_LINES, FUNCTION_LINES = 300, 60

# The parts of the project, and which other parts each may import.
ALLOWED = {
    "agent.core": set(),
    "agent.browser": {"agent.core"},
    "agent.evaluation": set(),
    "agent.sandbox": {"agent.core"},
    "agent.competitions": {"agent.core"},
    "agent.wrappers": {"agent.core"},
    "agent.training": {"agent.core", "agent.wrappers"},
    "agent.grading": {"agent.core"},
    "agent.policy": {"agent.core", "agent.wrappers"},
    "agent.rollout": {
        "agent.core",
        "agent.sandbox",
        "agent.competitions",
        "agent.wrappers",
        "agent.training",
    },
}
EVERYONE = set(sys.stdlib_module_names) | {"numpy", "pandas"}
# What each part needs from outside beyond that; the longest prefix of a module's name counts.
OUTSIDE = {
    "agent.core": {"jinja2", "pyarrow", "yaml"},
    "agent.core.devices": {"torch"},
    "agent.core.local_model": {"torch", "transformers"},
    "agent.core.model_folder": {"huggingface_hub"},
    "agent.core.progress": {"tqdm"},
    "agent.browser": {"tokenizers"},
    "agent.evaluation": {
        "jinja2",
        "matplotlib",
        "pyarrow",
        "scipy",
        "seaborn",
        "statsmodels",
        "yaml",
    },
    "agent.sandbox": {"pyarrow", "pyseccomp", "sklearn"},  # the fork server warms the latter up
    "agent.competitions": {"scipy", "sklearn", "statsmodels"},
    "agent.wrappers": set(),
    "agent.wrappers.mledojo_": {"mledojo", "yaml"},
    "agent.wrappers.vllm_": {"transformers"},
    "agent.wrappers.verl_": {"peft", "safetensors", "tensordict", "torch", "transformers", "verl"},
    "agent.training": {"safetensors", "tokenizers", "torch", "tqdm", "transformers"},
    "agent.grading": set(),
    "agent.policy": set(),
    "agent.rollout": set(),
}
SCRIPTS_MAY = {"tyro", "wandb"}


def sources(root: Path) -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    paths = [
        path for folder in ("agent", "scripts") for path in sorted((root / folder).rglob("*.py"))
    ]
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


def imported(tree: ast.AST, module: str) -> list[str]:
    """The dotted names that a module imports, wherever in its code; relative ones made absolute."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            names += [f"{base}.{alias.name}" for alias in node.names]
    return names


def part_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


def outside_of(module: str) -> set[str]:
    prefixes = [prefix for prefix in OUTSIDE if module.startswith(prefix)]
    return set().union(*(OUTSIDE[prefix] for prefix in prefixes))


def wrong_import(module: str, name: str) -> bool:
    top = name.split(".")[0]
    if module.startswith("scripts"):
        if top == "agent":
            return False
        return top not in EVERYONE | SCRIPTS_MAY
    if top == "agent":
        part = part_of(module)
        if part == "agent":  # agent/__init__.py
            return True
        if part == "agent.training" and part_of(name) == "agent.wrappers":
            return not name.startswith("agent.wrappers.verl_wrapper")
        return part_of(name) not in ALLOWED[part] | {part}
    return top not in EVERYONE | outside_of(module)


def too_long(module: str, source: str, tree: ast.AST) -> list[str]:
    lines = len(source.splitlines())
    found = [f"{module}: {lines} lines"] if lines > FILE_LINES else []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES:
                found.append(f"{module}.{node.name}: {length} lines")
    return found


def violations(root: Path) -> list[str]:
    found = []
    for module, path in sources(root).items():
        source = path.read_text()
        tree = ast.parse(source)
        found += [
            f"{module} imports {name}"
            for name in imported(tree, module)
            if wrong_import(module, name)
        ]
        found += too_long(module, source, tree)
    return found


def circle(root: Path) -> list[str]:
    """Modules of which each imports the next and the last the first; empty when there are none."""
    modules = sources(root)
    imports = {
        module: {
            other
            for name in imported(ast.parse(path.read_text()), module)
            for other in (name, name.rpartition(".")[0])
            if other in modules and other != module
        }
        for module, path in modules.items()
    }
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as found:
        return found.args[1]
    return []


def test_the_project_keeps_its_rules():
    assert violations(ROOT) == []
    assert circle(ROOT) == []


def test_a_circle_of_imports_is_caught(tmp_path):
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent/one.py").write_text("from agent.two import A\n")
    (tmp_path / "agent/two.py").write_text("def later():\n    from agent import three\n")
    assert circle(tmp_path) == []
    (tmp_path / "agent/three.py").write_text("import agent.one\n")
    assert set(circle(tmp_path)) == {"agent.one", "agent.two", "agent.three"}


def test_every_part_has_its_rules():
    parts = {part_of(module) for module in sources(ROOT) if module.startswith("agent.")}
    assert parts == set(ALLOWED)
    assert len(sources(ROOT)) > 60


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("agent/core/extra.py", "import agent.sandbox.runner"),
        ("agent/core/extra.py", "from agent.competitions import loading"),
        ("agent/core/extra.py", "def later():\n    import torch"),
        ("agent/core/extra.py", "from .. import training"),
        ("agent/core/extra.py", "import sklearn"),
        ("agent/evaluation/extra.py", "from agent.core.records import Turn"),
        ("agent/evaluation/extra.py", "import torch"),
        ("agent/sandbox/extra.py", "from agent.competitions.loading import load_competition"),
        ("agent/competitions/extra.py", "from agent.sandbox.runner import WarmRunner"),
        ("agent/wrappers/extra.py", "from agent.training.batch import update_batch"),
        ("agent/wrappers/extra.py", "import verl"),
        ("agent/wrappers/extra.py", "from mledojo.competitions import get_metric"),
        ("agent/training/extra.py", "from agent.sandbox.runner import WarmRunner"),
        ("agent/training/extra.py", "from agent.competitions.loading import load_competition"),
        ("agent/training/extra.py", "import agent.rollout"),
        ("agent/training/extra.py", "from agent import rollout"),
        ("agent/training/extra.py", "from agent.wrappers.scripted_policy import replay"),
        ("agent/training/extra.py", "from verl import DataProto"),
        ("agent/core/extra.py", "import snakemake"),
        ("agent/__init__.py", "import agent.core"),
        ("scripts/extra.py", "from scripts.evaluate import main"),
        ("scripts/extra.py", "import evaluate"),
        ("scripts/extra.py", "import snakemake"),
        ("scripts/extra.py", "import verl"),
        ("agent/core/extra.py", "x = 1\n" * (FILE_LINES + 1)),
        ("agent/core/extra.py", "def f():\n" + "    x = 1\n" * FUNCTION_LINES),
        ("scripts/extra.py", "class C:\n    def f(self):\n" + "        x = 1\n" * FUNCTION_LINES),
    ],
)
def test_a_planted_violation_is_caught(tmp_path, path, code):
    planted = tmp_path / path
    planted.parent.mkdir(parents=True)
    planted.write_text(code)
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("agent/core/extra.py", "import json\nfrom agent.core.records import Turn\nimport pyarrow"),
        ("agent/core/extra.py", "from . import records"),
        ("agent/core/local_model.py", "import torch"),
        ("agent/wrappers/verl_extra.py", "import verl\nfrom agent.core import records"),
        ("agent/training/extra.py", "from agent.wrappers.verl_wrapper import ppo_update"),
        ("agent/rollout.py", "from agent.sandbox.runner import WarmRunner"),
        ("scripts/extra.py", "import tyro\nfrom agent.rollout import play"),
        ("agent/core/extra.py", "x = 1\n" * FILE_LINES),
        ("agent/core/extra.py", "def f():\n" + "    x = 1\n" * (FUNCTION_LINES - 1)),
    ],
)
def test_what_is_allowed_is_not_reported(tmp_path, path, code):
    fine = tmp_path / path
    fine.parent.mkdir(parents=True)
    fine.write_text(code)
    assert violations(tmp_path) == []
