"""The records that pass between the stages: facts of an episode, and what an update reads."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

SCHEMA_VERSION = 3

ActionKind = Literal[
    "request_info", "validate_code", "execute_code", "get_history", "reset", "invalid"
]
# What became of one action. Everything but "ok" is the model's doing and therefore data.
Outcome = Literal[
    "ok",
    "unparsable",  # no action could be read from the text
    "refused",  # an action with an argument the environment does not know
    "crashed",
    "timed_out",
    "no_submission",
    "invalid_submission",
]
StopReason = Literal["max_turns", "context", "seconds"]
Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One action and what the environment answered.

    `first_token:last_token` (half-open) is the action's slice of the episode's token ids,
    end-of-turn token included; both are 0 for policies that only speak text.
    Scores belong to the feedback half; None unless the action produced a valid submission.
    """

    action: ActionKind
    text: str
    outcome: Outcome
    error: str  # short kind, e.g. "ValueError"; empty when outcome is "ok"
    observation: str
    raw_score: float | None
    position_score: float | None
    submission: bytes | None  # the CSV as collected, for grading again
    generate_seconds: float
    execute_seconds: float
    grade_seconds: float
    hack_attempts: tuple[str, ...]  # what the program tried beside its task, as `kind: detail`
    first_token: int
    last_token: int

    @property
    def seconds(self) -> float:
        """Of its own work: neither waiting for a worker nor what a killed job did in vain."""
        return self.generate_seconds + self.execute_seconds + self.grade_seconds


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode, as it happened: facts only, rewards and advantages are computed by the update.

    `token_ids`, `action_mask` and `logprobs` have equal length; the mask is 1 where the policy
    sampled the token, and `logprobs` (natural log, at the sampling temperature) is 0 elsewhere.

    `segments` are where contexts begin in them: 0, and once more each time that turns were
    forgotten for want of room. A later one opens, mask 0, with copies of what was kept or with a
    summary.
    """

    competition: str
    group: str
    policy: str  # digest of the checkpoint that played
    seed: int
    iteration: int
    shard: int
    episode: int
    messages: tuple[Message, ...]
    turns: tuple[Turn, ...]
    token_ids: np.ndarray  # int32
    action_mask: np.ndarray  # int8
    logprobs: np.ndarray  # float32
    temperature: float
    stop_reason: StopReason
    sandbox: str  # how programs were confined
    segments: tuple[int, ...] = (0,)

    @property
    def best_position(self) -> float:
        """Of all submissions; 0 without a valid one."""
        return max((turn.position_score or 0.0) for turn in self.turns)


def updates_seen(iteration: int, staleness: int) -> int:
    """Updates behind the policy that plays an iteration; it lags `staleness` behind the newest."""
    return max(0, iteration - 1 - staleness)


@dataclass(frozen=True, slots=True)
class UpdateBatch:
    """What one PPO update reads: ragged rows, each row's arrays of equal length.

    A row is an episode, or a segment of one; the segments of an episode follow each other, and
    what is earned after a segment counts as earned by it, too. `rewards` is non-zero only on action
    tokens (`action_mask == 1`), and every row ends with one. Episodes of one group faced the same
    task; `weights` multiply each action token's gradient.
    """

    token_ids: tuple[np.ndarray, ...]  # int32
    action_mask: tuple[np.ndarray, ...]  # int8
    logprobs: tuple[np.ndarray, ...]  # float32, as recorded when sampling
    rewards: tuple[np.ndarray, ...]  # float32
    weights: tuple[np.ndarray, ...]  # float32
    groups: tuple[str, ...]
    episodes: tuple[int, ...]  # which episode a row is of
    temperature: float


@dataclass(frozen=True, slots=True)
class SupervisedBatch:
    """What one supervised update reads: one row per episode, ragged; every row ends in an action.

    Only action tokens are learnt, at the temperature at which they were sampled: what was played
    without any selection would then, on average, not change the policy.
    """

    token_ids: tuple[np.ndarray, ...]  # int32
    action_mask: tuple[np.ndarray, ...]  # int8
    temperature: float


@dataclass(frozen=True, slots=True)
class PPOSettings:
    """Hyper-parameters of one update (names follow arXiv 1707.06347 and verl).

    agent/training/README.md says where each option comes from.
    """

    advantage: Literal["gae", "grpo", "rloo", "reinforce_plus_plus"]  # only the first has a critic
    critic_warmup: int  # number of first updates that train the critic alone
    duration_aware: bool  # weight an action's gradient by the seconds that it took
    learning_rate: float
    critic_learning_rate: float
    adam_epsilon: float  # larger than usual, so that the first noisy steps stay small
    epochs: int
    minibatch_size: int  # episodes per gradient step
    microbatch_size: int  # episodes per forward pass
    clip_range: float
    clip_range_high: float
    dual_clip: float  # largest ratio that counts where the advantage is negative, above 1
    gamma: float
    gae_lambda: float
    kl_in: Literal["loss", "reward"]  # estimator k3 in the loss, k1 in the reward
    kl_coef: float  # weight of the KL to the reference policy
    entropy_coef: float
    gradient_clip: float


@dataclass(frozen=True, slots=True)
class LoRASettings:
    """Low-rank adapters on actor and critic (arXiv 2106.09685)."""

    rank: int
    alpha: int  # adapters are scaled by alpha / rank
    targets: tuple[str, ...]  # names of the linear layers that get one


@dataclass(frozen=True, slots=True)
class RolloutCorrection:
    """Truncated importance sampling, where sampling and training software disagree."""

    level: Literal["token", "sequence"]
    threshold: float  # the largest weight


@dataclass(frozen=True, slots=True)
class UpdateSettings:
    """How an update is computed; what it computes is in `PPOSettings`."""

    nodes: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    gradient_checkpointing: bool = False
    offload: bool = False  # weights and optimiser wait in main memory while the other model works
    tokens_per_process: int | None = None  # in a forward pass, instead of a microbatch's episodes
    lora: LoRASettings | None = None
    rollout_correction: RolloutCorrection | None = None


@dataclass
class Conversation:
    """An episode's growing context: messages as text, and the exact tokens that were sampled.

    Append-only. The loop adds messages; only a token-level policy touches the token lists, so
    nothing is ever tokenised twice.
    """

    messages: list[Message] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    action_mask: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    encoded_messages: int = 0  # how many of `messages` are already in `token_ids`
    tools: tuple[dict[str, Any], ...] = ()  # what the chat template tells the model it may call
    segments: list[int] = field(default_factory=lambda: [0])  # as in `Trajectory`
    answers: list[int] = field(default_factory=list)  # where those of the last segment begin
    # What was done so far, in parts of about so many characters, for a segment that forgets it.
    summarise: Callable[[int], str] | None = None

    @property
    def context(self) -> list[int]:
        """What a model reads: the last segment."""
        return self.token_ids[self.segments[-1] :]
