// An episode at a glance: one mark per turn, as high as its position score, a cross where it failed.

const QUIET = ["request_info", "validate_code", "get_history", "reset"];

function strip(row) {
  if (!facts.turns[row]) return "";
  const marks = facts.outcomes[row].map((outcome, turn) => mark(row, turn, outcome));
  const words = facts.outcomes[row].map((_, turn) => `turn ${turn + 1}: ${turnWords(row, turn)}`);
  return make("span", { class: "strip", role: "img", "aria-label": words.join(", ") }, marks);
}

function mark(row, turn, outcome) {
  const position = facts.positions[row][turn];
  if (position !== null) {
    const bar = make("i", { class: "bar" });
    return make("i", { class: "mark" }, withProperty(bar, "--part", position));
  }
  const quiet = outcome === "ok" && QUIET.includes(facts.actions[row][turn]);
  return make("i", { class: `mark ${quiet ? "quiet" : outcomeClass(outcome)}` }, quiet ? "·" : "×");
}

function turnWords(row, turn) {
  const position = facts.positions[row][turn];
  return position === null ? label(facts.outcomes[row][turn]) : decimal(position);
}

/** Failures of the submission are milder than programs that do not run at all. */
function outcomeClass(outcome) {
  if (outcome === "ok") return "fine";
  return ["invalid_submission", "no_submission"].includes(outcome) ? "mild" : "bad";
}
