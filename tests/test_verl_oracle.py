"""The numbers of an update against PPO written out in plain PyTorch, one episode at a time.

Nothing here is verl's: log-probabilities come from transformers' full forward passes, advantages
from a loop over action tokens, and the optimisers live on from one iteration to the next where
the wrapper saves and loads them.
"""

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification
from verl_toys import SETTINGS, random_batch, write_tiny_model

from agent.core.records import PPOSettings, UpdateBatch
from agent.wrappers.verl_wrapper import load_verl, ppo_update

VALUE_CLIP = 0.5  # verl's `cliprange_value`
DUAL_CLIP = 3.0  # verl's `clip_ratio_c`, arXiv 1912.09729
SEED = 7


@dataclasses.dataclass
class Episode:
    """One episode as the oracle sees it; all tensors run over its action tokens."""

    ids: torch.Tensor
    actions: torch.Tensor  # positions of action tokens in `ids`
    rewards: torch.Tensor
    temperature: float
    old_logprobs: torch.Tensor = dataclasses.field(init=False)
    reference_logprobs: torch.Tensor = dataclasses.field(init=False)
    values: torch.Tensor = dataclasses.field(init=False)
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
    episodes = []
    for ids, mask, rewards in zip(batch.token_ids, batch.action_mask, batch.rewards, strict=True):
        actions = torch.from_numpy(np.flatnonzero(mask))
        earned = torch.from_numpy(rewards)[actions]
        episodes.append(Episode(torch.from_numpy(ids).long(), actions, earned, batch.temperature))
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
        """Log-probabilities, values, and GAE."""
        settings = self.settings
        for episode in episodes:
            episode.old_logprobs = episode.logprobs(self.actor)
            episode.values = episode.logits(self.critic)[:, 0]
            episode.reference_logprobs = episode.logprobs(self.reference)
            rewards = episode.rewards
            advantages, next_value, next_advantage = [], 0.0, 0.0
            for reward, value in zip(rewards.flip(0), episode.values.flip(0), strict=True):
                surprise = reward + settings.gamma * next_value - value
                next_advantage = surprise + settings.gamma * settings.gae_lambda * next_advantage
                next_value = value
                advantages.append(next_advantage)
            episode.advantages = torch.stack(advantages).flip(0)
            episode.returns = episode.advantages + episode.values
        everything = torch.cat([episode.advantages for episode in episodes])
        for episode in episodes:
            episode.advantages = (episode.advantages - everything.mean()) / everything.std()

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
        bounded = torch.minimum(loss, -episode.advantages * DUAL_CLIP)
        return torch.where(episode.advantages < 0, bounded, loss), policy.entropy()

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
        value = torch.cat(list(map(self.value_losses, episodes)))
        kl = torch.cat(list(map(self.reference_kl, episodes)))
        actor_loss = (
            policy.mean()
            - self.settings.entropy_coef * entropy.mean()
            + self.settings.kl_coef * kl.mean()
        )
        return {
            "policy_loss": policy.mean().item(),
            "value_loss": value.mean().item(),
            "gradient_norm": self._descend(self.actor, self.actor_optimizer, actor_loss),
            "critic_gradient_norm": self._descend(self.critic, self.critic_optimizer, value.mean()),
        }

    def _descend(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor
    ) -> float:
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), self.settings.gradient_clip)
        optimizer.step()
        return float(norm)


def minibatches(
    episodes: list[Episode], settings: PPOSettings, iteration: int
) -> Iterator[list[Episode]]:
    """The wrapper's order of episodes; rows past the last episode only fill a minibatch."""
    filled = -(-len(episodes) // settings.minibatch_size) * settings.minibatch_size
    lengths = np.array([*(len(e.ids) for e in episodes), *[2] * (filled - len(episodes))])
    order = load_verl().minibatch_order(lengths, settings, (SEED, iteration))
    for rows in order.reshape(-1, settings.minibatch_size):
        yield [episodes[row] for row in rows if row < len(episodes)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("reference"))


def largest_difference(model: torch.nn.Module, folder: Path) -> float:
    written = load_file(folder / "model" / "model.safetensors")
    assert written.keys() == dict(model.named_parameters()).keys()
    return max((w - written[key]).abs().max().item() for key, w in model.named_parameters())


def test_first_minibatch_has_the_losses_and_gradients_of_plain_ppo(
    reference: Path, tmp_path: Path
) -> None:
    settings = dataclasses.replace(SETTINGS, epochs=1, minibatch_size=8, entropy_coef=0.02)
    batch = random_batch(7, seed=11, temperature=0.8)
    metrics = ppo_update(batch, reference, None, tmp_path / "out", settings, 1, SEED)
    oracle, episodes = Oracle(reference, settings), episodes_of(batch)
    oracle.warm_up(episodes, 1)
    oracle.prepare(episodes)
    expected = oracle.step(episodes)
    assert {key: metrics[key] for key in expected} == pytest.approx(expected, abs=1e-4)
    assert metrics["gradient_norm"] > 0.1
    assert largest_difference(oracle.actor, tmp_path / "out") < 1e-5


def test_two_iterations_follow_plain_ppo_through_every_step(
    reference: Path, tmp_path: Path
) -> None:
    oracle, previous = Oracle(reference, SETTINGS), None
    for iteration in (1, 2):
        batch = random_batch(10, seed=20 + iteration)
        output = tmp_path / f"iteration-{iteration}"
        metrics = ppo_update(batch, reference, previous, output, SETTINGS, iteration, SEED)
        episodes, previous = episodes_of(batch), output
        if iteration == 1:
            oracle.warm_up(episodes, iteration)
        oracle.prepare(episodes)
        steps = [oracle.step(each) for each in minibatches(episodes, SETTINGS, iteration)]
        assert len(steps) == 6
        for key in steps[0]:
            mean = np.mean([step[key] for step in steps])
            assert metrics[key] == pytest.approx(mean, abs=1e-4), key
        moved = largest_difference(oracle.reference, output)
        assert largest_difference(oracle.actor, output) < 0.01 * moved


def test_old_logprobs_are_those_of_a_full_forward_pass(reference: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(reference)
    batch = random_batch(6, seed=31, temperature=1.3)
    recorded = []
    with torch.no_grad():
        for episode in episodes_of(batch):
            logprobs = np.zeros(len(episode.ids), dtype=np.float32)
            logprobs[episode.actions] = episode.logprobs(model)
            recorded.append(logprobs)
    batch = dataclasses.replace(batch, logprobs=tuple(recorded))
    metrics = ppo_update(batch, reference, None, tmp_path / "out", SETTINGS, 1, SEED)
    assert metrics["rollout_logprob_difference"] < 1e-5
    assert metrics["reference_kl"] == 0


def test_batch_metrics_are_means_over_action_tokens(reference: Path, tmp_path: Path) -> None:
    batch = random_batch(5, seed=41)
    metrics = ppo_update(batch, reference, None, tmp_path / "out", SETTINGS, 1, SEED)
    oracle, episodes = Oracle(reference, SETTINGS), episodes_of(batch)
    oracle.warm_up(episodes, 1)
    oracle.prepare(episodes)
    with torch.no_grad():
        entropy = torch.cat([episode.policy(oracle.actor).entropy() for episode in episodes])
    returns, values = (
        torch.cat([getattr(episode, name) for episode in episodes])
        for name in ("returns", "values")
    )
    explained = 1 - (returns - values).var() / returns.var()
    assert metrics["action_tokens"] == len(returns)
    assert metrics["entropy"] == pytest.approx(float(entropy.mean()), abs=1e-4)
    assert metrics["explained_variance"] == pytest.approx(float(explained), abs=1e-4)
    assert metrics["advantage_std"] == pytest.approx(
        float((returns - values).std(correction=0)), abs=1e-4
    )
    assert metrics["mean_return"] == pytest.approx(
        np.mean([rewards.sum() for rewards in batch.rewards]), abs=1e-5
    )
