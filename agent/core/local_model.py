"""Qwen and other causal language models through transformers, sampled token by token.

Sampling records exactly what the update needs: the sampled ids, end of turn included, and their
log-probabilities under the sampling distribution. Each row draws its uniforms from its own seed,
so its tokens do not depend on which other rows share the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.cache_utils import DynamicCache

from agent.core.base_agent import BaseAgent, Response
from agent.core.chat import ContextPolicy, append_answer, extend_context, has_room
from agent.core.model_folder import model_digest, model_folder
from agent.core.records import Conversation, Message


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    temperature: float
    max_new_tokens: int  # of one answer
    context_tokens: int  # of a whole episode
    batch_size: int  # conversations per forward pass
    context_policy: ContextPolicy = "stop"  # what happens when no other answer fits


class LocalModel:
    """A `Policy` that samples from a model in a local folder."""

    in_rounds = True

    def __init__(self, folder: str | Path, settings: SamplingSettings) -> None:
        path = model_folder(folder)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cpu":
            # Parallelism is between jobs; results must not depend on a job's share of the cores.
            torch.set_num_threads(1)
        # Not AutoTokenizer: for Qwen2 it replaces the splitting rules that tokenizer.json holds.
        self.tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(path, local_files_only=True)
        model: Any = AutoModelForCausalLM.from_pretrained(path, dtype="auto", local_files_only=True)
        self.model = model.to(self.device).eval()
        self.name = model_digest(path)
        self.temperature = settings.temperature
        self._max_new_tokens = settings.max_new_tokens
        self._settings = settings
        self._batch_size = settings.batch_size

    def respond(
        self, conversations: Sequence[Conversation], seeds: Sequence[int]
    ) -> list[Response]:
        limit, policy = self._settings.context_tokens, self._settings.context_policy
        for conversation in conversations:
            extend_context(self.tokenizer, conversation)
        responses: list[Response | None] = [None] * len(conversations)
        ready = [
            i
            for i, conversation in enumerate(conversations)
            if has_room(self.tokenizer, conversation, self._max_new_tokens, limit, policy)
        ]
        # Similar lengths share a batch, so that little of it is padding.
        ready.sort(key=lambda i: (len(conversations[i].context), i))
        for start in range(0, len(ready), self._batch_size):
            rows = ready[start : start + self._batch_size]
            contexts = [conversations[i].context for i in rows]
            sampled = self.sample(contexts, [seeds[i] for i in rows])
            for i, (ids, logprobs) in zip(rows, sampled, strict=True):
                responses[i] = append_answer(self.tokenizer, conversations[i], ids, logprobs)
        return [response or Response("", "context") for response in responses]

    @torch.inference_mode()
    def sample(
        self, contexts: Sequence[Sequence[int]], seeds: Sequence[int]
    ) -> list[tuple[list[int], list[float]]]:
        """Continue each context up to its end-of-turn token: ids and log-probs of equal length."""
        uniforms = np.stack([np.random.default_rng(s).random(self._max_new_tokens) for s in seeds])
        draws = torch.from_numpy(uniforms).to(self.device)
        ids, mask = self._left_pad(contexts)
        cache = DynamicCache(config=self.model.config)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        living = list(range(len(contexts)))
        results: list[tuple[list[int], list[float]]] = [([], []) for _ in contexts]
        for step in range(self._max_new_tokens):
            logits = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                logits_to_keep=1,
            ).logits[:, -1]
            tokens, logprobs = _draw(logits, draws[:, step], self.temperature)
            survivors = []
            rows = zip(living, tokens.tolist(), logprobs.tolist(), strict=True)
            for index, (row, token, logprob) in enumerate(rows):
                results[row][0].append(token)
                results[row][1].append(logprob)
                if token != self.tokenizer.eos_token_id:
                    survivors.append(index)
            if not survivors:
                break
            ids, positions = tokens[:, None], positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(living), 1)], dim=1)
            if len(survivors) < len(living):
                keep = torch.tensor(survivors, device=self.device)
                cache.batch_select_indices(keep)
                ids, positions, mask, draws = (x[keep] for x in (ids, positions, mask, draws))
                living = [living[index] for index in survivors]
        return results

    def _left_pad(self, contexts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(len(context) for context in contexts)
        ids = torch.full((len(contexts), width), self.tokenizer.pad_token_id)
        mask = torch.zeros((len(contexts), width), dtype=torch.long)
        for row, context in enumerate(contexts):
            ids[row, width - len(context) :] = torch.tensor(context)
            mask[row, width - len(context) :] = 1
        return ids.to(self.device), mask.to(self.device)


def _draw(
    logits: torch.Tensor, uniforms: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inverse-CDF sampling: (rows,) token ids and their log-probs. Temperature 0 is greedy."""
    logprobs = (logits.float() / (temperature or 1.0)).log_softmax(-1)
    if temperature == 0:
        tokens = logprobs.argmax(-1)
    else:
        cumulative = logprobs.double().exp().cumsum(-1)
        # Scaling by the total keeps the draw below it when rounding leaves it short of one.
        targets = uniforms[:, None] * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, targets, right=True)[:, 0]
        tokens = tokens.clamp(max=logprobs.shape[-1] - 1)
    return tokens, logprobs.gather(1, tokens[:, None])[:, 0]


class LocalModelAgent(BaseAgent):
    """A local model behind the one-episode interface."""

    def __init__(self, model: LocalModel, seed: int) -> None:
        self._model = model
        self._seed = seed
        self._conversation = Conversation()

    def reset(self) -> None:
        self._conversation = Conversation()

    def generate_response(self, messages: Sequence[Message]) -> str:
        self._conversation.messages = list(messages)
        turn = len(messages)
        seed = np.random.SeedSequence((self._seed, turn)).generate_state(1)[0]
        return self._model.respond([self._conversation], [int(seed)])[0].text
