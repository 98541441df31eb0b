// The list of episodes: a table of which only the rows in view exist.

const COLUMNS = [
  { key: "competition", title: "Competition", cell: (row) => facts.competition[row] },
  { key: "policy", title: "Policy", cell: policyCell },
  { key: "iteration", title: "Upd.", hint: "PPO updates that the policy had seen", number: true, cell: (row) => String(facts.iteration[row]) },
  { key: "seed", title: "Seed", number: true, cell: (row) => String(facts.seed[row]) },
  { key: "number", title: "Ep.", hint: "Number of the episode", number: true, cell: (row) => String(facts.number[row]) },
  { key: "turns", title: "Turns", hint: "One mark per turn, as high as its position score", cell: strip },
  { key: "feedback_score", title: "Feedback", get hint() { return `Best position score on ${answers.told}`; }, number: true, cell: (row) => decimal(facts.feedback_score[row]) },
  { key: "score", title: "Score", get hint() { return `Position score of the best submission on ${answers.judging}`; }, number: true, cell: (row) => decimal(facts.score[row]) },
  { key: "gain", title: "± base", hint: "Score minus that of the base's episode of the same number", number: true, cell: gainCell },
  { key: "reward", title: "Reward", hint: "Sum of the turns' rewards", number: true, cell: (row) => signed(facts.reward[row]) },
  { key: "tokens", title: "Tokens", hint: "Tokens the policy sampled", number: true, cell: (row) => (facts.tokens[row] === null ? MISSING : count(facts.tokens[row])) },
  { key: "logprob", title: "log p", hint: "Mean log-probability of the sampled tokens", number: true, cell: (row) => decimal(facts.logprob[row]) },
  { key: "stop_reason", title: "Stop", cell: (row) => label(facts.stop_reason[row]) || MISSING },
  { key: "hack_attempts", title: "Flags", hint: "Kinds of attempts to cheat", cell: flagCell },
];
const MARGIN_ROWS = 12;

const list = { rows: [], current: -1, state: null, scroller: null, body: null };

function policyCell(row) {
  return make("span", { class: `who ${facts.policy[row]}` }, label(facts.policy[row]));
}

function gainCell(row) {
  const gain = facts.gain[row];
  if (gain === null) return "";
  return make("span", { class: gain < 0 ? "loss" : "" }, signed(gain));
}

function flagCell(row) {
  const kinds = facts.hack_attempts[row];
  return kinds.length ? make("span", { class: "flag" }, kinds.map(label).join(", ")) : "";
}

function buildList() {
  list.body = make("tbody", {});
  list.head = make("tr", { "aria-rowindex": 1 });
  list.table = make("table", { role: "grid", "aria-label": "Episodes" }, make("thead", {}, list.head), list.body);
  list.summary = make("p", { class: "summary" });
  const unfold = make("button", { type: "button", class: "unfold", "aria-controls": "facets" }, "Filters");
  unfold.addEventListener("click", () => document.body.classList.add("unfolded"));
  list.scroller = make("div", { class: "scroller", tabindex: -1 }, list.table);
  list.scroller.addEventListener("scroll", () => requestAnimationFrame(drawRows), { passive: true });
  new ResizeObserver(() => drawRows()).observe(list.scroller);
  list.body.addEventListener("click", openClickedRow);
  byId("list").append(make("div", { class: "above" }, list.summary, unfold), list.scroller);
}

function openClickedRow(event) {
  const row = event.target.closest("tr[data-at]");
  if (!row || event.target.closest("a") || getSelection().toString()) return;
  location.hash = episodeAddress(list.rows[Number(row.dataset.at)], list.state);
}

/** Show these rows; the scroll position stays when the rows do. */
function showList(rows, state) {
  const same = rows.length === list.rows.length && rows.every((row, at) => row === list.rows[at]);
  list.rows = rows;
  list.state = { ...state, view: "episodes", episode: "", turn: null, a: "", b: "" };
  if (!same) {
    list.current = rows.length ? 0 : -1;
    list.scroller.scrollTop = 0;
  }
  drawHead(state);
  list.summary.replaceChildren(...summaryWords(rows));
  list.table.setAttribute("aria-rowcount", rows.length + 1);
  drawRows();
}

function drawHead(state) {
  const cells = COLUMNS.map((column) => {
    const orders = sortOrders(column);
    const at = orders.indexOf(state.sort || "");
    const href = writeAddress({ ...list.state, sort: orders[(at + 1) % orders.length] });
    const link = make("a", { href, title: column.hint }, column.title);
    const order = !orders[at] ? null : orders[at].startsWith("-") ? "descending" : "ascending";
    return make("th", { scope: "col", class: cellClass(column), "aria-sort": order }, link);
  });
  list.head.replaceChildren(...cells);
}

/** What clicks on a head go through: names from A, numbers from the highest. */
function sortOrders({ key, number }) {
  return number ? ["", `-${key}`, key] : ["", key, `-${key}`];
}

function cellClass(column) {
  return `${column.key}${column.number ? " number" : ""}`;
}

function summaryWords(rows) {
  const sums = summarise(rows);
  const words = [make("span", {}, make("b", {}, count(sums.episodes)), rows.length === 1 ? " episode" : " episodes")];
  const add = (name, value, more = "") => words.push(make("span", {}, ` ${name} `, make("b", {}, value), more));
  const some = sums.scored < sums.episodes ? ` of ${count(sums.scored)}` : ""; // training has none
  if (sums.score !== null) add("mean score", decimal(sums.score, 3), some);
  if (sums.iqm !== null && sums.scored > 1) add("IQM", decimal(sums.iqm, 3));
  if (sums.gain !== null) add("over the base", signed(sums.gain, 3));
  if (sums.iqmGain !== null && sums.scored > 1) add("in IQM", signed(sums.iqmGain, 3));
  if (sums.feedback !== null) add("feedback", decimal(sums.feedback, 3));
  if (sums.valid !== null) add("valid programs", percent(sums.valid));
  return words;
}

function rowHeight() {
  return Number.parseFloat(getComputedStyle(list.scroller).getPropertyValue("--row")) || 30;
}

function drawRows() {
  const height = rowHeight();
  const first = Math.max(0, Math.floor(list.scroller.scrollTop / height) - MARGIN_ROWS);
  const visible = Math.ceil(list.scroller.clientHeight / height) + 2 * MARGIN_ROWS;
  const last = Math.min(list.rows.length, first + visible);
  const hadFocus = list.body.contains(document.activeElement);
  const drawn = [spacer(first * height)];
  for (let at = first; at < last; at++) drawn.push(drawRow(at));
  drawn.push(spacer((list.rows.length - last) * height));
  if (!list.rows.length) drawn.push(make("tr", { class: "empty" }, make("td", { colspan: COLUMNS.length }, "No episode passes these filters.")));
  list.body.replaceChildren(...drawn);
  if (hadFocus) focusRow();
}

function spacer(height) {
  return withProperty(make("tr", { class: "spacer", "aria-hidden": "true" }), "--height", `${height}px`);
}

function drawRow(at) {
  const row = list.rows[at];
  const current = at === list.current;
  const cells = COLUMNS.map((column) => {
    const content = column.cell(row);
    if (column.key !== "competition") return make("td", { role: "gridcell", class: cellClass(column) }, content);
    const href = episodeAddress(row, list.state);
    const link = make("a", { href, tabindex: current ? 0 : -1 }, content);
    return make("td", { role: "gridcell", class: cellClass(column) }, link);
  });
  const attributes = { role: "row", "data-at": at, "aria-rowindex": at + 2, "aria-selected": String(current) };
  return make("tr", { ...attributes, class: `of-${facts.policy[row]}` }, cells);
}

/** Make a row the current one and bring it into view. */
function moveTo(at) {
  if (!list.rows.length) return;
  list.current = Math.min(Math.max(at, 0), list.rows.length - 1);
  const height = rowHeight();
  const top = list.current * height;
  const room = list.scroller.clientHeight - list.head.offsetHeight - height;
  const beyond = Math.max(list.scroller.scrollTop - top, top - list.scroller.scrollTop - room);
  if (beyond > height) list.scroller.scrollTop = top - room / 2; // from afar: into the middle
  else if (top < list.scroller.scrollTop) list.scroller.scrollTop = top;
  else if (beyond > 0) list.scroller.scrollTop = top - room;
  drawRows();
}

function focusRow() {
  list.body.querySelector('[aria-selected="true"] a')?.focus({ preventScroll: true });
}
