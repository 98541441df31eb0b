// From the address to what is shown.

list.shown = emptyState("overview");

function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

async function show() {
  const state = readAddress(location.hash);
  const before = list.shown;
  list.shown = state;
  const asked = location.hash;
  try {
    await showView(state, before, () => location.hash === asked);
    notice("");
  } catch (error) {
    notice(error.message);
  }
}

async function showView(state, before, stillWanted) {
  if (state.view !== "overview") {
    const found = await rowsWithText(state.text, stillWanted);
    if (!stillWanted()) return;
    const { rows, counts } = selectRows(state, found);
    showList(rows, state);
    if (state.view === "episodes") showFacets(state, counts);
  }
  document.body.dataset.view = state.view;
  byId("search-text").value = state.text;
  markNavigation(state);
  if (state.view === "overview") showOverview();
  else if (state.view === "compare") await showCompare(state);
  else if (state.view === "episode") await showChangedEpisode(state, before);
  else afterList(before);
}

/** Another turn of the episode that is shown needs no new page. */
async function showChangedEpisode(state, before) {
  const same = writeAddress({ ...before, turn: null }) === writeAddress({ ...state, turn: null });
  if (same && byId("episode").querySelector(".turn")) showTurn(byId("episode"), state.turn);
  else await showEpisode(state);
}

/** Coming back to the list, the reader finds the row of the episode just left. */
function afterList(before) {
  drawRows();
  if (before.view !== "episode" && before.view !== "compare") return;
  moveTo(list.current);
  focusRow();
}

function markNavigation(state) {
  const view = state.view === "episode" ? "episodes" : state.view;
  for (const link of document.querySelectorAll("[data-nav]")) {
    if (link.dataset.nav === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (link.dataset.nav !== "overview" && list.state) {
      link.href = writeAddress({ ...list.state, view: link.dataset.nav });
    }
  }
  const words = { episode: state.episode, compare: "compare", episodes: "episodes", overview: "overview" };
  byId("alone").href = location.hash;
  document.title = `${words[state.view]} · ${byId("overview").dataset.study}`;
}

function onSearch(event) {
  event.preventDefault();
  if (event.type === "submit") byId("search-text").blur(); // the keys are for the list again
  const text = byId("search-text").value.trim();
  const filters = list.state || emptyState("episodes");
  location.hash = writeAddress({ ...filters, view: "episodes", text });
}

async function start() {
  if (!("DecompressionStream" in window)) {
    notice("This browser is too old for this page: any of 2023 or later will do.");
    return;
  }
  const index = await load("index");
  byId("overview").dataset.study = index.study;
  openIndex(index);
  prepareFacets();
  buildList();
  buildHelp();
  document.addEventListener("keydown", onKey);
  document.addEventListener("pointerover", (event) => showProbe(event, shownTurns));
  byId("search").addEventListener("submit", onSearch);
  byId("search-text").addEventListener("search", onSearch);
  window.addEventListener("hashchange", show);
  byId("alone").hidden = window.parent === window; // within the report, say
  await show();
}

start().catch((error) => notice(error.message));
