"""Sampling through vLLM's OpenAI-compatible server: token ids in, token ids and log-probs out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from agent.core.base_agent import Response
from agent.core.chat import append_answer, extend_context, has_room
from agent.core.local_model import SamplingSettings
from agent.core.model_folder import model_digest, model_folder
from agent.core.records import Conversation
from agent.wrappers.vllm_requests import UNSHAPED

Complete = Callable[[dict[str, Any]], dict[str, Any]]


class VllmPolicy:
    """A `Policy` whose model a server holds; asked from many threads, one conversation each.

    complete: sends a request to `/v1/completions` and returns the reply.
    Raises `RuntimeError` when the reply lacks ids or log-probs: they cannot be made up afterwards.
    """

    in_rounds = False

    def __init__(self, folder: str | Path, settings: SamplingSettings, complete: Complete) -> None:
        path = model_folder(folder)
        self.tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(path, local_files_only=True)
        self.name = model_digest(path)
        self.temperature = settings.temperature
        self._settings = settings
        self._complete = complete

    def respond(
        self, conversations: Sequence[Conversation], seeds: Sequence[int]
    ) -> list[Response]:
        return [self._respond(*pair) for pair in zip(conversations, seeds, strict=True)]

    def _respond(self, conversation: Conversation, seed: int) -> Response:
        extend_context(self.tokenizer, conversation)
        longest, limit = self._settings.max_new_tokens, self._settings.context_tokens
        policy = self._settings.context_policy
        if not has_room(self.tokenizer, conversation, longest, limit, policy):
            return Response("", "context")
        ids, logprobs = self.sample(conversation.context, seed)
        return append_answer(self.tokenizer, conversation, ids, logprobs)

    def sample(self, context: Sequence[int], seed: int) -> tuple[list[int], list[float]]:
        """Continue the context up to its end-of-turn token: ids and log-probs of equal length."""
        reply = self._complete(
            {
                "prompt": list(context),
                "max_tokens": self._settings.max_new_tokens,
                "temperature": self.temperature,
                **UNSHAPED,
                "seed": seed,
                "logprobs": 0,  # of the sampled tokens alone
                "return_token_ids": True,
                "stop_token_ids": [self.tokenizer.eos_token_id],
                "skip_special_tokens": False,
            }
        )
        choice = (reply.get("choices") or [{}])[0]
        ids = choice.get("token_ids")
        logprobs = (choice.get("logprobs") or {}).get("token_logprobs")
        if not ids or not logprobs or len(ids) != len(logprobs):
            raise RuntimeError(
                "vllm: the reply lacks token ids or log-probs: the server must know "
                "return_token_ids (vLLM 0.10.2 or later)"
            )
        return list(ids), [float(value) for value in logprobs]
