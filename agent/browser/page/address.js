// Every state of the page is an address after the #, which any figure, table or number may link to:
//
//   #/overview
//   #/episodes?<filters>                    the list
//   #/episode/<episode>?turn=2&<filters>    one episode, within the list
//   #/compare?a=<episode>&b=<episode>&turn=1
//
// An <episode> is named after the files it is in:
//   evaluation/seed0/iteration5/held_out/17   training/seed0/iteration3/shard0/17
//   yardsticks/dummy/<competition>/0
// <filters> are facets with one or more values (policy=base,trained&competition=...&outcome=crashed),
// ranges (score=0.2..0.8), text=<words searched in answers and observations> and sort=-score.

const RANGES = ["score", "feedback_score", "reward"];
const VIEWS = ["overview", "episodes", "episode", "compare"];

function readAddress(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view, ...episode] = path.split("/");
  const state = emptyState(VIEWS.includes(view) ? view : "overview");
  state.episode = decoded(episode.join("/"));
  for (const part of query.split("&").filter(Boolean)) {
    const [key, value = ""] = part.split(/=(.*)/s);
    setParameter(state, key, value);
  }
  return state;
}

function decoded(text) {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return text; // a lone % in an address written by hand
  }
}

function emptyState(view) {
  return { view, episode: "", turn: null, a: "", b: "", text: "", sort: "", facets: {}, ranges: {} };
}

function setParameter(state, key, value) {
  if (["a", "b", "text", "sort"].includes(key)) state[key] = decoded(value);
  else if (key === "turn") state.turn = Number.parseInt(value, 10) || null;
  else if (FACETS.some((facet) => facet.key === key)) state.facets[key] = value.split(",").map(decoded);
  else if (RANGES.includes(key)) state.ranges[key] = readRange(value);
}

function readRange(text) {
  const [low, high] = text.split("..").map((side) => (side === "" ? NaN : Number(side)));
  return [Number.isNaN(low) ? -Infinity : low, Number.isNaN(high ?? NaN) ? Infinity : high];
}

function writeAddress(state) {
  const parts = [];
  const add = (key, value) => parts.push(`${key}=${readable(value)}`);
  if (state.view === "compare") for (const side of ["a", "b"]) if (state[side]) add(side, state[side]);
  if (state.turn && ["episode", "compare"].includes(state.view)) add("turn", String(state.turn));
  if (state.view !== "overview") parts.push(...filterParts(state));
  const path = state.view === "episode" ? `episode/${readable(state.episode)}` : state.view;
  return `#/${path}${parts.length ? `?${parts.join("&")}` : ""}`;
}

function filterParts(state) {
  const parts = [];
  for (const { key } of FACETS) {
    if (state.facets[key]?.length) parts.push(`${key}=${state.facets[key].map(readable).join(",")}`);
  }
  for (const key of RANGES) {
    if (state.ranges[key]) parts.push(`${key}=${state.ranges[key].map(rangeEnd).join("..")}`);
  }
  if (state.text) parts.push(`text=${readable(state.text)}`);
  if (state.sort) parts.push(`sort=${readable(state.sort)}`);
  return parts;
}

function rangeEnd(number) {
  return Number.isFinite(number) ? String(number) : "";
}

/** Encoded, but for the slashes that keep an address legible. */
function readable(text) {
  return encodeURIComponent(text).replaceAll("%2F", "/");
}

function listAddress(facets, more = {}) {
  return writeAddress({ ...emptyState("episodes"), facets, ...more });
}

function episodeAddress(row, filters, turn = null) {
  return writeAddress({ ...filters, view: "episode", episode: facts.address[row], turn });
}

function compareAddress(a, b, filters, turn = null) {
  const sides = { a: facts.address[a], b: facts.address[b] };
  return writeAddress({ ...filters, view: "compare", ...sides, turn });
}

/** Two episodes with the one that came earlier in training on the left. */
function pairAddress(row, other, filters) {
  const [a, b] = facts.iteration[other] < facts.iteration[row] ? [other, row] : [row, other];
  return compareAddress(a, b, filters);
}
