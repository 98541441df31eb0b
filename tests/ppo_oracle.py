"""PPO written out in plain PyTorch, one episode at a time, to check the numbers of an update.

Nothing here is verl's: log-probabilities come from transformers' full forward passes, advantages
from loops over action tokens and episodes, and the optimisers live on from one iteration to the
next where the wrapper saves and loads them.
"""

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification

from agent.core.records import PPOSettings, UpdateBatch
from agent.wrappers.verl_wrapper import load_verl

VALUE_CLIP = 0.5  # verl's `cliprange_value`
SEED = 7


@dataclasses.dataclass
class Episode:
    """One episode as the oracle sees it; all tensors run over its action tokens."""

    ids: torch.Tensor
    actions: torch.Tensor  # positions of action tokens in `ids`
    rewards: torch.Tensor
    weights: torch.Tensor
    group: str
    temperature: float
    old_logprobs: torch.Tensor = dataclasses.field(init=False)
    reference_logprobs: torch.Tensor = dataclasses.field(init=False)
    values: torch.Tensor = dataclasses.field(init=False)
    paid: torch.Tensor = dataclasses.field(init=False)
    advantages: torch.Tensor = dataclasses.field(init=False)
    returns: torch.Tensor = dataclasses.field(init=False)

    def logits(self, model: torch.nn.Module) -> torch.Tensor:
        """What a model says just before each action token."""
        return model(self.ids[None]).logits[0, self.actions - 1]

    def policy(self, model: torch.nn.Module) -> torch.distributions.Categorical:
        return torch.distributions.Categorical(logits=self.logits(model) / self.temperature)

    def logprobs(self, model: torch.nn.Module) -> torch.Tensor:
        return self.policy(model).log_prob(self.ids[self.actions])


def episodes_of(batch: UpdateBatch) -> list[Episode]:
    columns = (batch.token_ids, batch.action_mask, batch.rewards, batch.weights, batch.groups)
    episodes = []
    for ids, mask, rewards, weights, group in zip(*columns, strict=True):
        actions = torch.from_numpy(np.flatnonzero(mask))
        facts = [torch.from_numpy(column)[actions] for column in (rewards, weights)]
        tokens = torch.from_numpy(ids).long()
        episodes.append(Episode(tokens, actions, *facts, group, batch.temperature))
    return episodes


class Oracle:
    """Actor, critic and reference as plain modules, with optimisers that are never saved."""

    def __init__(self, reference: Path, settings: PPOSettings) -> None:
        self.settings = settings
        self.critic = AutoModelForTokenClassification.from_pretrained(reference, num_labels=1)
        self.critic.dropout.p = 0.0
        for parameter in self.critic.score.parameters():
            torch.nn.init.zeros_(parameter)
        self.actor = AutoModelForCausalLM.from_pretrained(reference)
        self.reference = copy.deepcopy(self.actor)
        rates = settings.learning_rate, settings.critic_learning_rate
        self.actor_optimizer, self.critic_optimizer = (
            torch.optim.AdamW(
                model.parameters(), lr=rate, eps=settings.adam_epsilon, weight_decay=0.0
            )
            for model, rate in zip((self.actor, self.critic), rates, strict=True)
        )

    @torch.no_grad()
    def prepare(self, episodes: list[Episode]) -> None:
        """Log-probabilities, values, rewards that pay for divergence, and advantages."""
        for episode in episodes:
            episode.old_logprobs = episode.logprobs(self.actor)
            episode.values = episode.logits(self.critic)[:, 0]
            episode.reference_logprobs = episode.logprobs(self.reference)
            episode.paid = episode.rewards
            if self.settings.kl_in == "reward":
                divergence = episode.old_logprobs - episode.reference_logprobs
                episode.paid = episode.rewards - self.settings.kl_coef * divergence
        getattr(self, f"_{self.settings.advantage}")(episodes)

    def _gae(self, episodes: list[Episode]) -> None:
        settings = self.settings
        for episode in episodes:
            advantages, next_value, next_advantage = [], 0.0, 0.0
            for reward, value in zip(episode.paid.flip(0), episode.values.flip(0), strict=True):
                surprise = reward + settings.gamma * next_value - value
                next_advantage = surprise + settings.gamma * settings.gae_lambda * next_advantage
                next_value = value
                advantages.append(next_advantage)
            episode.advantages = torch.stack(advantages).flip(0)
            episode.returns = episode.advantages + episode.values
        _whiten(episodes)

    def _reinforce_plus_plus(self, episodes: list[Episode]) -> None:
        for episode in episodes:
            discounts = self.settings.gamma ** torch.arange(len(episode.paid))
            episode.advantages = torch.stack(
                [episode.paid[t:] @ discounts[: len(discounts) - t] for t in range(len(discounts))]
            )
        _whiten(episodes)

    def _grpo(self, episodes: list[Episode]) -> None:
        for episode in episodes:
            returns = torch.stack([e.paid.sum() for e in episodes if e.group == episode.group])
            advantage = (episode.paid.sum() - returns.mean()) / (returns.std() + 1e-6)
            episode.advantages = advantage.expand(len(episode.actions))

    def _rloo(self, episodes: list[Episode]) -> None:
        for episode in episodes:
            others = [e for e in episodes if e.group == episode.group and e is not episode]
            baseline = torch.stack([e.paid.sum() for e in others]).mean()
            episode.advantages = (episode.paid.sum() - baseline).expand(len(episode.actions))

    def warm_up(self, episodes: list[Episode], iteration: int) -> None:
        """The critic's own pass over the first batch, before it judges the actor."""
        self.prepare(episodes)
        for each in minibatches(episodes, self.settings, iteration):
            loss = torch.cat(list(map(self.value_losses, each))).mean()
            self._descend(self.critic, self.critic_optimizer, loss)

    def policy_losses(self, episode: Episode) -> tuple[torch.Tensor, torch.Tensor]:
        """PPO's clipped loss and the entropy of each action token."""
        policy = episode.policy(self.actor)
        logprobs = policy.log_prob(episode.ids[episode.actions])
        ratio = (logprobs - episode.old_logprobs).exp()
        clipped = ratio.clamp(1 - self.settings.clip_range, 1 + self.settings.clip_range_high)
        loss = torch.maximum(-episode.advantages * ratio, -episode.advantages * clipped)
        bounded = torch.minimum(loss, -episode.advantages * self.settings.dual_clip)
        loss = torch.where(episode.advantages < 0, bounded, loss)
        return episode.weights * loss, policy.entropy()

    def reference_kl(self, episode: Episode) -> torch.Tensor:
        """Estimator k3 of the KL to the reference (Schulman, 2020) at each action token."""
        log_ratio = episode.reference_logprobs - episode.logprobs(self.actor)
        return log_ratio.exp() - log_ratio - 1

    def value_losses(self, episode: Episode) -> torch.Tensor:
        values = episode.logits(self.critic)[:, 0]
        clipped = episode.values + (values - episode.values).clamp(-VALUE_CLIP, VALUE_CLIP)
        return 0.5 * torch.maximum(
            (values - episode.returns) ** 2, (clipped - episode.returns) ** 2
        )

    def step(self, episodes: list[Episode]) -> dict[str, float]:
        """One gradient step of each model on one minibatch."""
        policy, entropy = map(torch.cat, zip(*map(self.policy_losses, episodes), strict=True))
        actor_loss = policy.mean() - self.settings.entropy_coef * entropy.mean()
        if self.settings.kl_in == "loss":
            kl = torch.cat(list(map(self.reference_kl, episodes)))
            actor_loss = actor_loss + self.settings.kl_coef * kl.mean()
        norm = self._descend(self.actor, self.actor_optimizer, actor_loss)
        measured = {"policy_loss": policy.mean().item(), "gradient_norm": norm}
        if self.settings.advantage != "gae":
            return measured
        value = torch.cat(list(map(self.value_losses, episodes))).mean()
        norm = self._descend(self.critic, self.critic_optimizer, value)
        return measured | {"value_loss": value.item(), "critic_gradient_norm": norm}

    def _descend(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor
    ) -> float:
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), self.settings.gradient_clip)
        optimizer.step()
        return float(norm)


def _whiten(episodes: list[Episode]) -> None:
    everything = torch.cat([episode.advantages for episode in episodes])
    for episode in episodes:
        episode.advantages = (episode.advantages - everything.mean()) / everything.std()


def minibatches(
    episodes: list[Episode], settings: PPOSettings, iteration: int
) -> Iterator[list[Episode]]:
    """The wrapper's order of episodes; rows past the last episode only fill a minibatch."""
    filled = -(-len(episodes) // settings.minibatch_size) * settings.minibatch_size
    lengths = np.array([*(len(e.ids) for e in episodes), *[2] * (filled - len(episodes))])
    order = load_verl().minibatch_order(lengths, settings, (SEED, iteration))
    for rows in order.reshape(-1, settings.minibatch_size):
        yield [episodes[row] for row in rows if row < len(episodes)]


def largest_difference(model: torch.nn.Module, folder: Path) -> float:
    written = load_file(folder / "model" / "model.safetensors")
    assert written.keys() == dict(model.named_parameters()).keys()
    return max((w - written[key]).abs().max().item() for key, w in model.named_parameters())
