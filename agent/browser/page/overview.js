// The study in tables. Every number leads to the episodes it was computed from.

function showOverview() {
  const pane = byId("overview");
  if (pane.childElementCount) return; // it does not depend on the address
  const by = (source) => rowsWhere((row) => facts.source[row] === source);
  const [evaluated, trainedOn, yardsticks] = ["evaluation", "training", "yardsticks"].map(by);
  pane.append(
    make("h1", {}, "Episodes of the study"),
    make("p", { class: "lead" }, counted(evaluated, "evaluation", "of evaluation"), ", ", counted(trainedOn, "training", "of training"), " and ", counted(yardsticks, "yardsticks", "scores of yardsticks"), ". Every number leads to the episodes behind it."),
  );
  const columns = policyColumns([...evaluated, ...yardsticks]);
  if (columns.length) pane.append(scoreTable(columns));
  if (trainedOn.length) pane.append(trainingTable(trainedOn));
  pane.append(eventTable(columns, trainedOn));
}

function rowsWhere(test) {
  const rows = [];
  for (let row = 0; row < facts.size; row++) if (test(row)) rows.push(row);
  return rows;
}

function counted(rows, source, words) {
  return make("a", { href: listAddress({ source: [source] }) }, `${count(rows.length)} ${words}`);
}

/** One column per policy and stage of training: agents by their updates, then yardsticks by name. */
function policyColumns(rows) {
  const columns = grouped(rows, (row) => `${facts.source[row]}/${facts.policy[row]}/${facts.iteration[row]}`);
  return [...columns.values()]
    .map((members) => policyColumn(members))
    .sort((a, b) => a.source.localeCompare(b.source) || a.iteration - b.iteration || a.policy.localeCompare(b.policy));
}

function policyColumn(rows) {
  const [policy, iteration, source] = [facts.policy[rows[0]], facts.iteration[rows[0]], facts.source[rows[0]]];
  const facets = { source: [source], policy: [policy], iteration: [String(iteration)] };
  return { rows, policy, iteration, source, facets, title: policyName(policy, iteration) };
}

function grouped(rows, key) {
  const groups = new Map();
  for (const row of rows) {
    const name = key(row);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(row);
  }
  return groups;
}

function scoreTable(columns) {
  const groups = [...new Set(columns.flatMap((column) => column.rows.map((row) => facts.group[row])))].sort();
  const bodies = groups.map((group) => groupBody(group, columns));
  const heads = [...columns];
  if (trainedAndBase(columns)) heads.splice(gainPlace(columns), 0, { title: "gain over base", policy: "gain" });
  return tableFigure("Scores", `Score on ${answers.judging}, share of valid programs, and episodes. IQM: without the lowest and the highest quarter of the means of runs and competitions, as the report's headline; its intervals are in the report.`, heads, bodies, "Competition");
}

/** The gain stands behind the agents, before the yardsticks. */
function gainPlace(columns) {
  return columns.filter(({ source }) => source === "evaluation").length;
}

/** The final policy and what it was trained from, where a study has both. */
function trainedAndBase(columns) {
  const trained = columns.filter(({ source, policy }) => source === "evaluation" && policy === "trained").at(-1);
  const base = columns.find(({ source, policy }) => source === "evaluation" && policy === "base");
  return trained && base ? [trained, base] : null;
}

function groupBody(group, columns) {
  const inGroup = new Map(columns.map((column) => [column, column.rows.filter((row) => facts.group[row] === group)]));
  const names = [...new Set([...inGroup.values()].flat().map((row) => facts.competition[row]))].sort();
  const pair = trainedAndBase(columns);
  const line = (title, facets, rowsOf, quantity, kind) => {
    const cells = columns.map((column) => scoreCell(rowsOf(column), { ...column.facets, ...facets }, column.policy, quantity));
    if (pair) cells.splice(gainPlace(columns), 0, gainCellOf(...pair.map(rowsOf), { ...pair[0].facets, ...facets }, quantity));
    return make("tr", { class: kind }, make("th", { scope: "row" }, title), cells);
  };
  const whole = (column) => inGroup.get(column);
  const totals = [["IQM", "iqm"], ["mean", "score"]].map(([words, quantity]) => line(`${label(group)} (${names.length}), ${words}`, { group: [group] }, whole, quantity, "total"));
  return make("tbody", {}, totals, names.map((name) => {
    const ofName = (column) => whole(column).filter((row) => facts.competition[row] === name);
    return line(name, { group: [group], competition: [name] }, ofName, "score", null);
  }));
}

/** What the trained policy is ahead of its base by, and its episodes, those that gained most first. */
function gainCellOf(trained, base, facets, quantity) {
  if (!trained.length || !base.length) return make("td", {}, MISSING);
  const gain = summarise(trained)[quantity] - summarise(base)[quantity];
  const words = `gain ${signed(gain)}, ${plural(trained.length, "episode")}`;
  const number = make("b", { class: gain < 0 ? "loss" : null }, signed(gain));
  return make("td", { class: "of-gain" }, make("a", { href: listAddress(facets, { sort: "-gain" }), "aria-label": words, class: "cell" }, number));
}

function scoreCell(rows, facets, policy, quantity) {
  if (!rows.length) return make("td", {}, MISSING);
  const sums = summarise(rows);
  const numbers = [make("b", {}, decimal(sums[quantity])), make("small", {}, sums.valid === null ? "" : percent(sums.valid)), make("small", {}, count(rows.length))];
  const words = `${decimal(sums[quantity])}, ${sums.valid === null ? "" : `${percent(sums.valid)} valid, `}${plural(rows.length, "episode")}`;
  const link = make("a", { href: listAddress(facets), "aria-label": words, class: "cell" }, numbers);
  return make("td", { class: `of-${policy}` }, withProperty(link, "--part", sums[quantity] ?? 0));
}

function trainingTable(rows) {
  const stages = [...grouped(rows, (row) => facts.iteration[row]).keys()].sort((a, b) => a - b);
  const columns = stages.map((iteration) => ({ title: iteration ? `${plural(iteration, "update")}` : "base", policy: iteration ? "trained" : "base", iteration }));
  const seeds = [...grouped(rows, (row) => facts.seed[row]).keys()].sort((a, b) => a - b);
  const line = (title, seed) => {
    const cells = columns.map(({ iteration, policy }) => {
      const members = rows.filter((row) => facts.iteration[row] === iteration && (seed === null || facts.seed[row] === seed));
      const facets = { source: ["training"], iteration: [String(iteration)], ...(seed === null ? {} : { seed: [String(seed)] }) };
      return scoreCell(members, facets, policy, "feedback");
    });
    return make("tr", { class: seed === null ? "total" : null }, make("th", { scope: "row" }, title), cells);
  };
  const body = make("tbody", {}, line("all seeds", null), seeds.map((seed) => line(`seed ${seed}`, seed)));
  return tableFigure("Training", `Mean of the best position score on ${answers.told}, share of valid programs, and episodes, by the updates that the playing policy had seen.`, columns, [body], "Run");
}

function eventTable(columns, trainedOn) {
  const played = columns.filter((column) => column.rows.some((row) => facts.turns[row]));
  if (trainedOn.length) played.push({ title: "training", policy: "trained", rows: trainedOn, facets: { source: ["training"] } });
  const kinds = ["outcome", "valid", "stop", "flag", "error"].map((key) => FACETS.find((facet) => facet.key === key));
  const bodies = kinds.map((facet) => {
    const lines = facet.all.map((value) => {
      const cells = played.map((column) => eventCell(column, facet, value));
      return make("tr", {}, make("th", { scope: "row" }, shown(label(value))), cells);
    });
    const heading = make("tr", { class: "heading" }, make("th", { scope: "rowgroup", colspan: played.length + 1 }, facet.title));
    return make("tbody", {}, heading, lines);
  });
  return tableFigure("What happened", "Episodes in which it happened at least once, and their share.", played, bodies, "Event", "events");
}

function eventCell(column, facet, value) {
  const number = column.rows.filter((row) => facet.of[row].includes(value)).length;
  const part = number / column.rows.length;
  if (!number) return make("td", { class: "zero" }, "0");
  const href = listAddress({ ...column.facets, [facet.key]: [value] });
  const link = make("a", { href, class: "cell", "aria-label": `${plural(number, "episode")}, ${percent(part)}` }, make("b", {}, count(number)), make("small", {}, percent(part)));
  return make("td", { class: `of-${column.policy}` }, withProperty(link, "--part", part));
}

function tableFigure(title, words, columns, bodies, corner, kind = "") {
  const heads = columns.map((column) => make("th", { scope: "col", class: `of-${column.policy}` }, make("span", { class: `who ${column.policy}` }, column.title)));
  const head = make("thead", {}, make("tr", {}, make("th", { scope: "col" }, corner), heads));
  const scroller = make("div", { class: "table-scroller", tabindex: 0, role: "region", "aria-label": title }, make("table", { class: `numbers ${kind}` }, head, bodies));
  return make("section", { class: "table-figure" }, make("h2", {}, title), make("p", { class: "note" }, words), scroller);
}
