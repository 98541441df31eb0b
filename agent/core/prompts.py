"""Everything the agent is told, from YAML templates: wording is configuration, never code."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined, Template, TemplateError, meta

from agent.core.actions import ActionFormat, format_action

TEMPLATES = Path(__file__).parent / "prompts"
OPENING = ("system", "task")
ANSWERS = (
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
SUMMARY = "summary"
KEYS = (*OPENING, *ANSWERS, SUMMARY)
# What a template may show; `inherited` is the same key's text in the set that this one extends.
_OPENING_VALUES = {"competition", "description", "brief", "turns_left"}
_ANSWER_VALUES = {
    *("message", "error", "output", "raw_score", "position_score", "best_position"),
    *("metric", "higher_is_better", "turns_left"),
}
_SUMMARY_VALUES = {
    *("attempts", "left_out", "best_program", "best_raw_score", "best_position"),
    *("observation", "metric", "higher_is_better", "turns_left"),
}


class PromptManager:
    """Renders one set of prompt templates; a name of a shipped set, or a YAML file of your own.

    Templates are Jinja2 with undefined variables as errors. Keys: `system` and `task` open the
    episode; `summary` follows them in a segment that forgets the turns before (its variables are
    those of `episode.summarise`); the others answer an action and get the variables of
    `environment.Feedback`. All know `tool_calls`, whether answers are tool calls, and
    `action(kind, argument)`, how one is written. A set that `extends` another one holds only the
    keys that differ, and may show what is `inherited`.
    """

    def __init__(
        self,
        templates: str | Path,
        action_format: ActionFormat = "block",
        extended_by: tuple[Path, ...] = (),
    ) -> None:
        self.action_format = action_format
        self._path = template_file(templates)
        if self._path in extended_by:
            raise ValueError(f"prompts: {self._path} extends itself: take its line extends out")
        self._engine = Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True)
        self._engine.globals = {
            "action": partial(format_action, form=action_format),
            "tool_calls": action_format == "tool_call",
        }
        texts = _read(self._path)
        self._base: PromptManager | None = None
        if "extends" in texts:
            above = (*extended_by, self._path)
            self._base = PromptManager(str(texts.pop("extends")), action_format, above)
        needed = set() if self._base else set(KEYS)
        if wrong := sorted(set(texts) - set(KEYS) | needed - set(texts)):
            raise ValueError(f"prompts: {self._path} has missing or unknown keys {wrong}")
        self._templates = {key: self._parsed(key, text) for key, text in texts.items()}

    @staticmethod
    def shipped() -> list[str]:
        return sorted(path.stem for path in TEMPLATES.glob("*.yaml"))

    @property
    def files(self) -> tuple[Path, ...]:
        """All that the wording is made of: this set's file, and those that it extends."""
        return (self._path, *(self._base.files if self._base else ()))

    def render(self, key: str, values: Mapping[str, object]) -> str:
        if self._base is None:
            return self._templates[key].render(values).strip()
        inherited = self._base.render(key, values)
        if key not in self._templates:
            return inherited
        return self._templates[key].render({**values, "inherited": inherited}).strip()

    def _parsed(self, key: str, text: Any) -> Template:
        known = _SUMMARY_VALUES if key == SUMMARY else _ANSWER_VALUES
        known = _OPENING_VALUES if key in OPENING else known
        known = known | set(self._engine.globals) | ({"inherited"} if self._base else set())
        if not isinstance(text, str):
            raise ValueError(f"prompts: {self._path}: {key} must be text, got {text!r}")
        try:
            unknown = meta.find_undeclared_variables(self._engine.parse(text)) - known
            template = self._engine.from_string(text)
        except TemplateError as wrong:
            told = f"prompts: {self._path}: {key} is no Jinja2: {wrong.message}"
            raise ValueError(told) from wrong
        if unknown:
            raise ValueError(
                f"prompts: {self._path}: {key} has unknown placeholders {sorted(unknown)}; "
                f"known are {', '.join(sorted(known))}"
            )
        return template


def template_file(name: str | Path) -> Path:
    """The file of a shipped set, or the YAML file that is named."""
    path = Path(name)
    if path.suffix != ".yaml":
        path = TEMPLATES / f"{name}.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"prompts: no template file {path}; name a YAML file or one of "
            f"{PromptManager.shipped()}"
        )
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        texts = yaml.safe_load(path.read_text())
    except yaml.YAMLError as wrong:
        told = " ".join(str(wrong).split())
        raise ValueError(f"prompts: {path} is no YAML: {told}") from wrong
    if not isinstance(texts, dict):
        raise ValueError(f"prompts: {path} must hold keys with texts, got {type(texts).__name__}")
    return texts


def head_and_tail(text: str, limit: int) -> str:
    """Shorten `text` to about `limit` characters, keeping both ends: errors come last."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters cut]\n{text[-half:]}"
