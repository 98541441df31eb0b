// An answer as the model sampled it: Python lightly coloured, each token shaded by its surprise.

const PYTHON = new RegExp(
  [
    String.raw`(?<comment>#[^\n]*)`,
    String.raw`(?<string>(?:\b[rbfuRBFU]{1,2})?(?:"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?))`,
    String.raw`(?<keyword>\b(?:and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|lambda|nonlocal|not|or|pass|raise|return|try|while|with|yield|None|True|False)\b)`,
    String.raw`(?<number>\b\d[\w.]*)`,
  ].join("|"),
  "g",
);
const FENCE = /^```[^\n]*$/gm;
const FULL_SHADE = 5; // nats: a token of probability 0.7 %
const LONGEST_COMPARED = 400; // lines

/** Cuts of a text into classes: [start, end, class], in order, with gaps where it is plain. */
function syntax(text) {
  const fences = [...text.matchAll(FENCE)].slice(0, 2);
  const marks = fences.map((fence) => [fence.index, fence.index + fence[0].length, "fence"]);
  if (!fences.length) return [];
  const from = fences[0].index + fences[0][0].length;
  const to = fences[1]?.index ?? text.length;
  for (const match of text.slice(from, to).matchAll(PYTHON)) {
    const kind = Object.keys(match.groups).find((name) => match.groups[name] !== undefined);
    marks.push([from + match.index, from + match.index + match[0].length, kind]);
  }
  return marks.sort((a, b) => a[0] - b[0]);
}

/** The answer of a turn; `earlier` is the program whose lines are not marked as new. */
function answerBlock(turn, earlier) {
  const block = make("pre", { class: "answer", tabindex: 0 });
  const lines = turn.text.slice(0, CUT).split("\n");
  const fresh = earlier === null ? new Set() : newLines(linesOf(earlier), linesOf(turn.text));
  const pieces = cutText(turn, lines);
  const code = codeLines(lines);
  pieces.forEach((line, at) => {
    const kinds = [code.has(at) ? "code" : "prose", fresh.has(at) ? "new" : ""];
    block.append(make("span", { class: `line ${kinds.join(" ").trim()}` }, line));
  });
  if (turn.text.length > CUT) showMore(block, turn.text, CUT);
  return block;
}

function linesOf(text) {
  return text.slice(0, CUT).split("\n");
}

/** Numbers of the lines between the fences. */
function codeLines(lines) {
  const fences = lines.flatMap((line, at) => (line.startsWith("```") ? [at] : []));
  const [from, to = lines.length] = fences;
  return new Set(from === undefined ? [] : lines.map((_, at) => at).filter((at) => at > from && at < to));
}

/** Each line as spans: cut where a token, a class of syntax or the line ends. */
function cutText(turn, lines) {
  const marks = syntax(turn.text.slice(0, CUT));
  const tokens = tokenEnds(turn);
  let [position, mark, token] = [0, 0, 0];
  return lines.map((line, number) => {
    const end = position + line.length;
    const spans = [];
    while (position < end) {
      while (token < tokens.length && tokens[token].end <= position) token++;
      while (mark < marks.length && marks[mark][1] <= position) mark++;
      const inMark = mark < marks.length && marks[mark][0] <= position;
      const nextMark = mark < marks.length ? marks[mark][inMark ? 1 : 0] : end;
      const next = Math.min(end, nextMark, token < tokens.length ? tokens[token].end : end);
      spans.push(piece(turn.text.slice(position, next), inMark ? marks[mark][2] : null, token, tokens[token]));
      position = next;
    }
    position += 1; // the line's end
    if (number < lines.length - 1) spans.push("\n");
    return spans;
  });
}

function tokenEnds(turn) {
  let end = 0;
  return turn.lengths.map((length, at) => ({ end: (end += length), logprob: turn.logprobs[at] }));
}

function piece(text, kind, number, token) {
  if (!token) return make("span", { class: kind }, shown(text));
  const span = make("span", { class: kind, "data-token": number }, shown(text));
  const surprise = token.logprob === null ? FULL_SHADE : -token.logprob / 100;
  if (surprise >= 0.01) withProperty(span, "--surprise", Math.min(1, surprise / FULL_SHADE).toFixed(3));
  return span;
}

/** Lines of `after` that a longest common subsequence with `before` leaves out. */
function newLines(before, after) {
  if (Math.max(before.length, after.length) > LONGEST_COMPARED) return new Set();
  const width = after.length + 1;
  const longest = new Uint16Array((before.length + 1) * width);
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      const skip = Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
      longest[i * width + j] = before[i] === after[j] ? longest[(i + 1) * width + j + 1] + 1 : skip;
    }
  }
  const fresh = new Set();
  for (let i = 0, j = 0; j < after.length; ) {
    if (i < before.length && before[i] === after[j]) [i, j] = [i + 1, j + 1];
    else if (i < before.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1]) i++;
    else fresh.add(j++);
  }
  return fresh;
}

/** From hundredths of a nat, in two digits. */
function probability(logprob) {
  return String(Number(Math.exp(logprob / 100).toPrecision(2)));
}

/** The probability of the token under the pointer, in a small note beside it. */
function showProbe(event, turns) {
  const span = event.target.closest?.("[data-token]");
  const probe = byId("probe");
  probe.hidden = !span;
  if (!span) return;
  const turn = turns.get(span.closest("[data-answer]").dataset.answer);
  const logprob = turn.logprobs[Number(span.dataset.token)];
  const words = logprob === null ? "log p not finite" : `p ${probability(logprob)} · log p ${decimal(logprob / 100)}`;
  probe.textContent = `token ${Number(span.dataset.token) + 1} of ${turn.lengths.length} · ${words}`;
  const box = span.getClientRects()[0];
  withProperty(probe, "--left", `${Math.min(box.left, innerWidth - 260)}px`);
  withProperty(probe, "--top", `${box.top - 26}px`);
}
