// Two episodes side by side: by default base and trained on the same competition and number.

const ORDERS = [["", "as listed"], ["gain", "largest loss first"], ["-gain", "largest gain first"]];

/** Pairs of base and trained among the selected episodes: rows of the trained policy. */
function pairsOf(rows) {
  return rows.filter((row) => facts.gain[row] !== null);
}

async function showCompare(state) {
  const pane = byId("compare");
  const pairs = pairsOf(list.rows);
  const [a, b] = state.a ? [rowOf.get(state.a), rowOf.get(state.b)] : [facts.base[pairs[0]], pairs[0]];
  if (a === undefined || b === undefined) {
    const asked = state.a ? `No episode is called “${rowOf.has(state.a) ? state.b : state.a}” here.` : "No trained episode with a base to compare with passes the filters.";
    pane.replaceChildren(make("p", { class: "problem" }, asked));
    return;
  }
  const asked = location.hash;
  const [left, right] = await Promise.all([loadTranscript(a), loadTranscript(b)]);
  if (location.hash !== asked) return;
  shownTurns.clear();
  const same = facts.competition[a] === facts.competition[b];
  pane.replaceChildren(compareHead(a, b, pairs, state), make("div", { class: "sides" }, side(a, left, state), side(b, right, state)));
  if (left && right && same) pane.append(opening(right));
  pane.append(legend("Lines that the other answer does not have"), make("div", { class: "sides turns" }, turnPairs(a, b, left, right, state)));
  showTurn(pane, state.turn);
  markFound(pane, state);
  announce(`Comparing ${pairWords(a)} with ${pairWords(b)}`);
}

function pairWords(row) {
  return `${policyName(facts.policy[row], facts.iteration[row])} on ${facts.competition[row]}`;
}

/** The address of the pair before or after this one among the selected; null at their ends. */
function nextPair(state, by) {
  const pairs = pairsOf(list.rows);
  const at = state.b ? pairs.indexOf(rowOf.get(state.b)) : 0;
  const other = at < 0 ? undefined : pairs[at + by];
  return other === undefined ? null : compareAddress(facts.base[other], other, list.state);
}

function compareHead(a, b, pairs, state) {
  const at = pairs.indexOf(b);
  const where = at < 0 ? "a pair of your own" : `pair ${count(at + 1)} of ${count(pairs.length)}`;
  const steps = stepLinks("pair", where, (by) => nextPair({ b: facts.address[b] }, by));
  const order = make("select", { "aria-label": "Order of pairs" }, ORDERS.map(([value, words]) => make("option", { value, selected: state.sort === value }, words)));
  order.addEventListener("change", () => {
    location.hash = writeAddress({ ...list.state, view: "compare", sort: order.value });
  });
  const title = facts.competition[a] === facts.competition[b] ? facts.competition[a] : "Two competitions";
  return make("header", { class: "episode-head" }, make("div", { class: "bar-of-links" }, steps, order), make("h1", {}, title), verdict(a, b), isFiltered(list.state) ? chips(list.state) : null);
}

function verdict(a, b) {
  const [x, y] = [facts.score[a], facts.score[b]];
  if (x === null || y === null) return null;
  return make("p", { class: "origin" }, "Score ", decimal(x, 4), " → ", decimal(y, 4), ", ", make("b", { class: y < x ? "loss" : null }, signed(y - x, 4)));
}

function side(row, transcript, state) {
  const name = policyName(facts.policy[row], facts.iteration[row]);
  const link = make("a", { href: episodeAddress(row, list.state) }, name);
  const heading = make("h2", { class: `who ${facts.policy[row]}` }, link);
  return make("div", { class: `side of-${facts.policy[row]}` }, heading, make("p", { class: "origin" }, `seed ${facts.seed[row]} · episode ${facts.number[row]} `, strip(row)), episodeFacts(row, transcript, true), provenance(row, transcript));
}

function turnPairs(a, b, left, right, state) {
  const turns = Math.max(left?.turns.length || 0, right?.turns.length || 0);
  const sides = [];
  for (let at = 0; at < turns; at++) {
    const [one, other] = [left?.turns[at], right?.turns[at]];
    const href = compareAddress(a, b, list.state, at + 1);
    for (const [row, turn, rival] of [[a, one, other], [b, other, one]]) {
      const content = turn ? turnSection(turn, at + 1, href, rival ? rival.text : null) : make("p", { class: "problem" }, "No such turn.");
      sides.push(make("div", { class: `side of-${facts.policy[row]}`, "data-side": policyName(facts.policy[row], facts.iteration[row]) }, content));
    }
  }
  return sides;
}
