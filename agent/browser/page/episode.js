// One episode: what it is, what it came to, the prompt, and every turn.

const shownTurns = new Map(); // number of an answer on the page -> its turn, for the probe

async function showEpisode(state) {
  const pane = byId("episode");
  const row = rowOf.get(state.episode);
  if (row === undefined) {
    pane.replaceChildren(backLink(), make("p", { class: "problem" }, `No episode is called “${state.episode}” here.`));
    return;
  }
  const at = list.rows.indexOf(row);
  if (at >= 0) moveTo(at);
  const transcript = await loadTranscript(row);
  if (readAddress(location.hash).episode !== state.episode) return; // the reader has moved on
  const filters = list.state;
  pane.replaceChildren(episodeHead(row, at, filters), episodeFacts(row, transcript), provenance(row, transcript));
  if (transcript) pane.append(opening(transcript), legend("Lines that the turn before did not have"), ...turnsOf(row, transcript, filters));
  else pane.append(make("p", { class: "problem" }, yardstickWords(row)));
  showTurn(pane, state.turn);
  markFound(pane, state);
  announce(`Episode ${facts.number[row]} of ${facts.competition[row]}, ${policyName(facts.policy[row], facts.iteration[row])}`);
}

function yardstickWords(row) {
  const ways = {
    base_best_of_n: "The score is what the best of several of the base's first attempts is expected to reach.",
    random_program: "A program was drawn from the grammar, run and graded; its text was not kept.",
  };
  return `No transcript: nobody played this turn by turn. ${ways[facts.policy[row]] || "The score is that of an entry of the leaderboard."}`;
}

function backLink() {
  return make("a", { class: "back", href: writeAddress(list.state) }, "‹ List");
}

/** The address of the episode before or after this one in the list; null at its ends. */
function nextEpisode(row, by) {
  const at = list.rows.indexOf(row);
  const other = at < 0 ? undefined : list.rows[at + by];
  return other === undefined ? null : episodeAddress(other, list.state);
}

function episodeHead(row, at, filters) {
  const where = at < 0 ? "not in the list" : `${count(at + 1)} of ${count(list.rows.length)}`;
  const others = counterparts(row).map((other) => {
    const words = `Compare with ${policyName(facts.policy[other], facts.iteration[other])}`;
    return make("a", { href: pairAddress(row, other, filters), class: "compare-with" }, words);
  });
  const steps = stepLinks("episode", where, (by) => nextEpisode(row, by));
  const title = make("h1", {}, facts.competition[row]);
  return make("header", { class: "episode-head" }, make("div", { class: "bar-of-links" }, backLink(), steps, others), title, origin(row));
}

function stepLinks(noun, where, next) {
  const link = (by, words, key) =>
    make("a", { href: next(by), class: "step", "aria-label": `${words} ${noun}`, title: `${words} ${noun} (${key})` }, by < 0 ? "‹" : "›");
  return make("span", { class: "steps" }, link(-1, "Previous", "k"), make("span", {}, where), link(1, "Next", "j"));
}

function origin(row) {
  const name = policyName(facts.policy[row], facts.iteration[row]);
  const policy = make("span", { class: `who ${facts.policy[row]}` }, name);
  const words = [`${label(facts.group[row])} competition`, `${facts.source[row]}`, `seed ${facts.seed[row]}`, `episode ${facts.number[row]}`];
  return make("p", { class: "origin" }, policy, words.map((text) => [" · ", text]));
}

/** Beside another episode the difference is left out: it stands above both. */
function episodeFacts(row, transcript, beside = false) {
  const pairs = [
    ["Score", decimal(facts.score[row], 4), `Position score of the best submission on ${answers.judging}`],
    ["First attempt", decimal(facts.first_score[row], 4), `Position score of the first program on ${answers.judging}`],
    ["Feedback", decimal(facts.feedback_score[row], 4), `Best position score on ${answers.told}`],
    ["± base", beside ? null : signed(facts.gain[row], 4), "Score minus that of the base's episode of the same number"],
    ["Reward", signed(facts.reward[row], 4), "Sum of the turns' rewards, as training computes them"],
    ["Tokens", facts.tokens[row] === null ? null : `${count(facts.tokens[row])} of ${count(transcript.context)}`, "Sampled tokens, and the whole context"],
    ["Mean log p", decimal(facts.logprob[row], 3), "Of the sampled tokens, at the sampling temperature"],
    ["Temperature", transcript && String(transcript.temperature)],
    ["Stopped by", label(facts.stop_reason[row]) || null],
  ];
  const known = pairs.filter(([, value]) => value && value !== MISSING);
  return make("dl", { class: "facts" }, known.map(([term, value, hint]) => make("div", { title: hint }, make("dt", {}, term), make("dd", {}, shown(value)))));
}

function provenance(row, transcript) {
  const words = [facts.address[row]];
  if (transcript) words.push(`checkpoint ${transcript.checkpoint}`, `confined by ${transcript.sandbox}`);
  return make("p", { class: "provenance" }, shown(words.join(" · ")));
}

function opening(transcript) {
  const messages = transcript.opening.map(([role, content]) =>
    make("div", { class: "message" }, make("h3", {}, role), textBlock(content, "observation")));
  return make("details", { class: "opening", open: true }, make("summary", {}, "Prompt"), messages);
}

function legend(words) {
  const scale = make("span", { class: "scale", "aria-hidden": "true" });
  return make("p", { class: "legend" }, make("span", {}, "p = 1 ", scale, " p ≤ .007"), make("span", {}, make("span", { class: "new-mark", "aria-hidden": "true" }), words));
}

function turnsOf(row, transcript, filters) {
  shownTurns.clear();
  return transcript.turns.map((turn, at) => {
    const earlier = at ? transcript.turns[at - 1].text : null;
    return turnSection(turn, at + 1, episodeAddress(row, filters, at + 1), earlier);
  });
}

function turnSection(turn, number, href, earlier) {
  const id = String(shownTurns.size);
  shownTurns.set(id, turn);
  const heading = make("h2", {}, make("a", { href, title: "Link to this turn" }, `Turn ${number}`));
  const answer = answerBlock(turn, earlier);
  answer.dataset.answer = id;
  answer.setAttribute("aria-label", `Answer of turn ${number}`);
  const observation = textBlock(turn.observation, "observation");
  observation.setAttribute("aria-label", `Observation after turn ${number}`);
  return make("section", { class: "turn", "data-turn": number, "aria-label": `Turn ${number}`, tabindex: -1 },
    make("div", { class: "turn-head" }, heading, turnFacts(turn)), attempts(turn), answer, make("h3", { class: "told" }, "Observation"), observation);
}

function turnFacts(turn) {
  const outcome = turn.error && turn.error !== turn.outcome ? `${label(turn.outcome)}: ${turn.error}` : label(turn.outcome);
  const words = [make("span", {}, label(turn.action)), make("span", { class: `outcome ${outcomeClass(turn.outcome)}` }, shown(outcome))];
  const fact = (name, value) => words.push(make("span", {}, `${name} `, make("b", {}, value)));
  if (turn.position !== null) fact("position", decimal(turn.position, 4));
  if (turn.raw_score !== null) fact("raw", String(Number(turn.raw_score.toPrecision(6))));
  fact("reward", signed(turn.reward, 4));
  if (turn.lengths.length) fact("tokens", count(turn.lengths.length));
  const finite = turn.logprobs.filter((value) => value !== null);
  if (finite.length) {
    fact("mean log p", decimal(finite.reduce((sum, value) => sum + value, 0) / finite.length / 100, 3));
    fact("lowest p", probability(finite.reduce((low, value) => Math.min(low, value), 0)));
  }
  return make("p", { class: "turn-facts" }, words.map((word) => [word, " "]));
}

function attempts(turn) {
  if (!turn.hack_attempts.length) return null;
  const items = turn.hack_attempts.map((attempt) => make("li", {}, shown(attempt)));
  return make("div", { class: "attempts" }, make("b", {}, "Attempted beside its task"), make("ul", {}, items));
}

function showTurn(pane, number) {
  for (const turn of pane.querySelectorAll(".turn.current")) turn.classList.remove("current");
  const turn = number && pane.querySelector(`[data-turn="${number}"]`);
  if (!turn) {
    pane.scrollTop = 0;
    return;
  }
  turn.classList.add("current");
  turn.scrollIntoView({ block: "start" });
  turn.focus({ preventScroll: true });
}
