"""Everything the agent is told, from YAML templates: wording is configuration, never code."""

from collections.abc import Mapping
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined, Template

TEMPLATES = Path(__file__).parent / "prompts"
KEYS = (
    "system",
    "task",
    "unparsable",
    "refused",
    "crashed",
    "timed_out",
    "no_submission",
    "invalid_submission",
    "validated",
    "scored",
    "answered",
)


class PromptManager:
    """Renders one set of prompt templates; a name of a shipped set, or a YAML file of your own.

    Templates are Jinja2 with undefined variables as errors. Keys: `system` and `task` open the
    episode; the others answer an action and get the variables of `environment.Feedback`.
    """

    def __init__(self, templates: str | Path) -> None:
        path = Path(templates)
        if path.suffix != ".yaml":
            path = TEMPLATES / f"{templates}.yaml"
        if not path.is_file():
            raise FileNotFoundError(
                f"prompts: no template file {path}; name a YAML file or one of {self.shipped()}"
            )
        texts = yaml.safe_load(path.read_text())
        if set(texts) != set(KEYS):
            wrong = sorted(set(texts) ^ set(KEYS))
            raise ValueError(f"prompts: {path} has missing or unknown keys {wrong}")
        engine = Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True)
        self._templates: dict[str, Template] = {
            key: engine.from_string(text) for key, text in texts.items()
        }

    @staticmethod
    def shipped() -> list[str]:
        return sorted(path.stem for path in TEMPLATES.glob("*.yaml"))

    def render(self, key: str, values: Mapping[str, object]) -> str:
        return self._templates[key].render(values).strip()


def head_and_tail(text: str, limit: int) -> str:
    """Shorten `text` to about `limit` characters, keeping both ends: errors come last."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters cut]\n{text[-half:]}"
