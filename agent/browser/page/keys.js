// The keyboard, and the page that explains it.

const KEYS = [
  ["j k or ↓ ↑", "next, previous episode or pair"],
  ["Enter", "open the episode"],
  ["→ ←", "next, previous turn"],
  ["c", "compare base and trained"],
  ["p", "shade tokens by their probability, or not"],
  ["/", "search in answers and observations"],
  ["Esc", "back: out of the search, to the list, to the overview"],
  ["?", "this help"],
];

const LINKS = [
  ["#/overview", "these tables"],
  ["#/episodes?policy=trained&outcome=crashed&sort=-score", "a list: facets, each with one or more values"],
  ["#/episodes?score=0..0.2&text=huber", "a range of scores, words in the transcript"],
  ["#/episode/evaluation/seed0/iteration0/held_out/0?turn=1", "an episode, and one of its turns"],
  ["#/compare?a=<episode>&b=<episode>", "any two episodes"],
];

function buildHelp() {
  const keys = KEYS.map(([key, words]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, words)]);
  const links = LINKS.map(([address, words]) => [make("dt", {}, make("code", {}, address)), make("dd", {}, words)]);
  const facets = FACETS.map(({ key }) => key).join(", ");
  const close = make("button", { type: "button" }, "Close");
  close.addEventListener("click", () => byId("help").close());
  byId("help").append(
    make("h2", { id: "help-title" }, "Keys"), make("dl", { class: "keys" }, keys),
    make("h2", {}, "Links"), make("p", {}, "The address always says what is shown; keep it, or write one:"), make("dl", { class: "links" }, links),
    make("p", {}, `Facets: ${facets}. Ranges: ${RANGES.join(", ")}.`), close,
  );
  byId("help-button").addEventListener("click", () => byId("help").showModal());
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") leave(typing, event.target);
  else if (!typing && act(event.key, event.target)) event.preventDefault();
}

/** Whether the key meant something here. Keys come faster than views: the address is up to date. */
function act(key, target) {
  const state = readAddress(location.hash);
  const browsing = state.view === "episodes" || state.view === "episode";
  const scrolls = target.matches("pre, .table-scroller") || target.closest("#facets"); // arrows are theirs
  const turnable = !target.matches(".table-scroller") && ["episode", "compare"].includes(state.view);
  if (key === "/") byId("search-text").focus();
  else if (key === "?") byId("help").showModal();
  else if (key === "p") document.body.classList.toggle("plain");
  else if (key === "c") openCompare(state);
  else if (key === "j" || (key === "ArrowDown" && !scrolls && browsing)) stepEpisode(state, 1);
  else if (key === "k" || (key === "ArrowUp" && !scrolls && browsing)) stepEpisode(state, -1);
  else if (key === "ArrowRight" && turnable) stepTurn(state, 1);
  else if (key === "ArrowLeft" && turnable) stepTurn(state, -1);
  else if (key === "Enter" && state.view === "episodes" && !target.closest("a, button, summary, label, input")) openCurrent();
  else return false;
  return true;
}

function leave(typing, target) {
  const { view } = readAddress(location.hash);
  if (typing) target.blur();
  else if (view === "episode" || view === "compare") location.hash = writeAddress(list.state);
  else if (view === "episodes") location.hash = "#/overview";
}

function openCurrent() {
  if (list.current >= 0) location.hash = episodeAddress(list.rows[list.current], list.state);
}

function stepEpisode(state, by) {
  if (state.view === "overview") location.hash = "#/episodes";
  else if (state.view === "episodes") {
    moveTo(list.current + by);
    focusRow();
  } else {
    const address = state.view === "episode" ? nextEpisode(rowOf.get(state.episode), by) : nextPair(state, by);
    if (address) location.hash = address;
  }
}

function stepTurn(state, by) {
  const turns = document.querySelectorAll(`#${state.view} [data-turn]`);
  const last = Math.max(1, ...[...turns].map((turn) => Number(turn.dataset.turn)));
  location.hash = writeAddress({ ...state, turn: Math.min(last, Math.max(1, (state.turn || 0) + by)) });
}

function openCompare(state) {
  const row = state.view === "episode" ? rowOf.get(state.episode) : list.rows[list.current];
  const others = row === undefined ? [] : counterparts(row);
  if (!others.length || !["episodes", "episode"].includes(state.view)) return;
  const other = facts.policy[row] === "base" ? others.at(-1) : others[0];
  location.hash = pairAddress(row, other, list.state);
}
