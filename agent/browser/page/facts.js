// The index: facts[column][row], one row per episode, and what is derived from it once.

let facts = null;
let rowOf = null; // address -> row
let answers = null; // the words for what agents are told of, and for what judges them
let paired = null; // key of an evaluated episode -> its rows, one for each policy

function openIndex(index) {
  answers = index.answers;
  facts = {};
  for (const [key, column] of Object.entries(index.columns)) facts[key] = plainColumn(column);
  facts.size = facts.number.length;
  facts.address = facts.folder.map((folder, row) => `${folder}/${facts.number[row]}`);
  facts.turns = facts.actions.map((actions) => actions.length);
  rowOf = new Map(facts.address.map((address, row) => [address, row]));
  pairEpisodes();
  facts.base = facts.score.map((_, row) => baseOf(row));
  facts.gain = facts.score.map((score, row) => gainOverBase(score, facts.base[row]));
}

function plainColumn(column) {
  if (Array.isArray(column)) return column;
  const name = (code) => column.names[code];
  return column.codes.map((code) => (Array.isArray(code) ? code.map(name) : name(code)));
}

/** Base and trained played the same competition under the same seed and episode number. */
function pairKey(row) {
  if (facts.source[row] !== "evaluation") return null;
  return [facts.seed, facts.group, facts.competition, facts.number].map((c) => c[row]).join("/");
}

function pairEpisodes() {
  paired = new Map();
  for (let row = 0; row < facts.size; row++) {
    const key = pairKey(row);
    if (key === null) continue;
    if (!paired.has(key)) paired.set(key, []);
    paired.get(key).push(row);
  }
  for (const rows of paired.values()) rows.sort((a, b) => facts.iteration[a] - facts.iteration[b]);
}

/** The same competition and episode number, played by other policies of the run. */
function counterparts(row) {
  return (paired.get(pairKey(row)) || []).filter((other) => other !== row);
}

/** The base's episode of the same number, where the trained policy played; else null. */
function baseOf(row) {
  if (facts.policy[row] !== "trained") return null;
  return counterparts(row).find((other) => facts.policy[other] === "base") ?? null;
}

function gainOverBase(score, base) {
  return score === null || base === null ? null : score - facts.score[base];
}

/** What the policy is called where several stages of training are shown. */
function policyName(policy, iteration) {
  return policy === "trained" ? `trained, ${plural(iteration, "update")}` : label(policy);
}

/** The numbers that stand for a set of episodes, here and in every table that links to it. */
function summarise(rows) {
  const alike = ofOnePolicy(rows);
  let valid = 0;
  let executions = 0;
  for (const row of rows) {
    valid += facts.valid_submissions[row];
    executions += facts.executions[row];
  }
  return {
    episodes: rows.length,
    score: mean("score", rows),
    iqm: alike ? interquartileMean(rows) : null,
    gain: alike ? mean("gain", rows) : null,
    iqmGain: alike ? differenceOfMeans(rows) : null,
    scored: rows.filter((row) => facts.score[row] !== null).length,
    feedback: mean("feedback_score", rows),
    valid: executions ? valid / executions : null,
  };
}

function mean(column, rows) {
  const values = rows.map((row) => facts[column][row]).filter((value) => value !== null);
  return values.length ? average(values) : null;
}

function average(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Whether the episodes were played by one policy at one stage of training, in one group. */
function ofOnePolicy(rows) {
  return ["source", "policy", "iteration", "group"].every((key) => new Set(rows.map((row) => facts[key][row])).size === 1);
}

/** The headline's gain: of the interquartile means, not of the episodes one by one. */
function differenceOfMeans(rows) {
  const bases = rows.map((row) => facts.base[row]);
  return bases.includes(null) ? null : interquartileMean(rows) - interquartileMean(bases);
}

/** As statistics.py has it: of the means of each run and competition, without a quarter at either end. */
function interquartileMean(rows) {
  const cells = grouped(rows.filter((row) => facts.score[row] !== null), (row) => `${facts.seed[row]}/${facts.competition[row]}`);
  const means = [...cells.values()].map((members) => mean("score", members)).sort((a, b) => a - b);
  const cut = Math.floor(means.length / 4);
  return means.length ? average(means.slice(cut, means.length - cut)) : null;
}
