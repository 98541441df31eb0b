// The filters beside the list: each facet's values, with how many episodes each would leave.

const opened = new Map(); // facets that a reader has opened or closed

function showFacets(state, counts) {
  const focused = document.activeElement?.dataset?.choice;
  const panes = FACETS.map((facet, at) => facetPane(facet, state, counts[at])).filter(Boolean);
  const clear = make("a", { href: listAddress({}, { sort: state.sort }), class: "clear" }, "Clear all");
  const heading = make("h2", {}, "Filters");
  const top = make("div", { class: "facets-head" }, heading, isFiltered(state) ? clear : null);
  const done = make("button", { type: "button", class: "done" }, `Show ${plural(list.rows.length, "episode")}`);
  done.addEventListener("click", () => document.body.classList.remove("unfolded"));
  byId("facets").replaceChildren(top, chips(state), done, sortPane(state), rangePane(state), ...panes);
  if (focused) byId("facets").querySelector(`[data-choice="${CSS.escape(focused)}"]`)?.focus();
}

function isFiltered(state) {
  return Boolean(Object.keys(state.facets).length || Object.keys(state.ranges).length || state.text);
}

function facetPane(facet, state, counts) {
  const chosen = state.facets[facet.key] || [];
  const values = [...new Set([...facet.all, ...chosen])];
  if (values.length < 2 && !chosen.length) return null; // nothing to choose
  const most = Math.max(1, ...counts.values());
  const choices = values.map((value) => choice(facet, value, chosen, counts.get(value) || 0, most));
  const title = make("summary", {}, facet.title, chosen.length ? ` (${chosen.length})` : null);
  const open = opened.get(facet.key) ?? (chosen.length > 0 || values.length <= 8);
  const pane = make("details", { class: "facet", open }, title, make("ul", {}, choices));
  title.addEventListener("click", () => opened.set(facet.key, !pane.open));
  return pane;
}

function choice(facet, value, chosen, number, most) {
  const id = `${facet.key}=${value}`;
  const box = make("input", { type: "checkbox", checked: chosen.includes(value), "data-choice": id });
  box.addEventListener("change", () => {
    location.hash = writeAddress(toggled(list.state, facet.key, value));
  });
  const bar = withProperty(make("span", { class: "share", "aria-hidden": "true" }), "--part", number / most);
  const name = make("span", { class: "name" }, shown(label(value)));
  const words = make("label", {}, box, name, " ", make("span", { class: "count" }, count(number)), bar);
  return make("li", { class: number ? null : "none" }, words);
}

/** What is filtered by, each with a way to drop it: also where the facets are folded away. */
function chips(state) {
  const items = [];
  const chip = (words, without) => {
    const link = make("a", { href: writeAddress(without), "aria-label": `Remove filter ${words}` }, words, " ×");
    items.push(make("li", {}, link));
  };
  const base = { ...state, view: "episodes", episode: "", turn: null, a: "", b: "" };
  for (const { key, title } of FACETS) {
    for (const value of state.facets[key] || []) chip(`${title}: ${label(value)}`, toggled(base, key, value));
  }
  for (const [key, range] of Object.entries(state.ranges)) {
    const ranges = { ...state.ranges };
    delete ranges[key];
    chip(`${label(key)} ${range.map(rangeEnd).join(" to ")}`, { ...base, ranges });
  }
  if (state.text) chip(`“${state.text}”`, { ...base, text: "" });
  return make("ul", { class: "chips", "aria-label": "Active filters" }, items);
}

function rangePane(state) {
  const [low, high] = state.ranges.score || [-Infinity, Infinity];
  const field = (name, value) => make("input", { type: "number", min: 0, max: 1, step: "any", name, value: rangeEnd(value), "aria-label": `Score ${name}` });
  const [from, to] = [field("from", low), field("to", high)];
  const form = make("form", { class: "range" }, make("span", {}, "Score"), from, "to", to);
  const apply = (event) => {
    event.preventDefault();
    const ranges = { ...list.state.ranges, score: readRange(`${from.value}..${to.value}`) };
    if (!from.value && !to.value) delete ranges.score;
    location.hash = writeAddress({ ...list.state, ranges });
  };
  form.addEventListener("submit", apply);
  form.addEventListener("change", apply);
  return form;
}

/** Where the list has no heads to sort by, on a phone. */
function sortPane(state) {
  const option = (value, words) => make("option", { value, selected: state.sort === value }, words);
  const options = COLUMNS.flatMap(({ key, title, hint }) => [option(key, `${hint || title}, lowest first`), option(`-${key}`, `${hint || title}, highest first`)]);
  const select = make("select", { "aria-label": "Sort by" }, option("", "Unsorted"), options);
  select.addEventListener("change", () => {
    location.hash = writeAddress({ ...list.state, sort: select.value });
  });
  return make("div", { class: "sort-by" }, select);
}
