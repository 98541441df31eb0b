// Which episodes a state of the page selects, in which order, and what else could be selected.

const FACETS = [
  { key: "source", title: "Source", values: (row) => [facts.source[row]] },
  { key: "policy", title: "Policy", values: (row) => [facts.policy[row]] },
  { key: "iteration", title: "PPO updates seen", values: (row) => [String(facts.iteration[row])] },
  { key: "seed", title: "Seed", values: (row) => [String(facts.seed[row])] },
  { key: "outcome", title: "Outcome of a turn", values: (row) => facts.outcomes[row] },
  { key: "error", title: "Error in a turn", values: (row) => facts.errors[row].filter(Boolean) },
  { key: "action", title: "Action of a turn", values: (row) => facts.actions[row] },
  { key: "valid", title: "Valid submission", values: validity },
  { key: "stop", title: "Stop reason", values: (row) => [facts.stop_reason[row]].filter(Boolean) },
  { key: "flag", title: "Attempts to cheat", values: flags },
  { key: "group", title: "Group", values: (row) => [facts.group[row]] },
  { key: "competition", title: "Competition", values: (row) => [facts.competition[row]] },
];

function validity(row) {
  if (!facts.turns[row]) return [];
  return [facts.valid_submissions[row] ? "some" : "none"];
}

function flags(row) {
  if (!facts.turns[row]) return [];
  const kinds = facts.hack_attempts[row];
  return kinds.length ? ["any", ...kinds] : ["none"];
}

/** Each facet's values of every row, each value once, looked up instead of computed from now on. */
function prepareFacets() {
  for (const facet of FACETS) {
    facet.of = Array.from({ length: facts.size }, (_, row) => [...new Set(facet.values(row))]);
    facet.all = [...new Set(facet.of.flat())].sort(naturally);
  }
}

function naturally(a, b) {
  return a.localeCompare(b, "en", { numeric: true });
}

/**
 * One pass over all rows: those that pass every filter, and for each facet how many rows each of
 * its values would leave. A row counts for a facet when nothing but that facet rules it out.
 */
function selectRows(state, found) {
  const active = FACETS.map((facet) => state.facets[facet.key] && new Set(state.facets[facet.key]));
  const ranges = Object.entries(state.ranges);
  const counts = FACETS.map(() => new Map());
  const rows = [];
  for (let row = 0; row < facts.size; row++) {
    if (found && !found.has(row)) continue;
    if (!ranges.every(([key, range]) => inRange(facts[key][row], range))) continue;
    const against = active.map((wanted, at) => wanted && !FACETS[at].of[row].some((v) => wanted.has(v)));
    const objections = against.filter(Boolean).length;
    if (objections === 0) rows.push(row);
    if (objections > 1) continue;
    FACETS.forEach((facet, at) => {
      if (objections && !against[at]) return;
      for (const value of facet.of[row]) counts[at].set(value, (counts[at].get(value) || 0) + 1);
    });
  }
  return { rows: sortRows(rows, state.sort), counts };
}

function inRange(value, [low, high]) {
  return value !== null && value >= low && value <= high;
}

function sortRows(rows, sort) {
  if (!sort) return rows;
  const descending = sort.startsWith("-");
  const values = facts[sort.replace(/^-/, "")];
  if (!values) return rows;
  const order = (a, b) => {
    const [x, y] = [sortable(values[a]), sortable(values[b])];
    if (x === null || y === null) return (x === null) - (y === null) || a - b; // missing ones last
    const difference = typeof x === "string" ? naturally(x, y) : x - y;
    return (descending ? -difference : difference) || a - b;
  };
  return rows.sort(order);
}

function sortable(value) {
  return Array.isArray(value) ? value.length : value;
}

/** The state with one value of a facet chosen or no longer chosen. */
function toggled(state, key, value) {
  const chosen = state.facets[key] || [];
  const rest = chosen.filter((other) => other !== value);
  const next = rest.length < chosen.length ? rest : [...chosen, value];
  const facets = { ...state.facets, [key]: next };
  if (!next.length) delete facets[key];
  return { ...state, facets };
}
