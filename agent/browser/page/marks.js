// Marks the searched words in the transcript without touching its elements.

/** Marks them, and brings the first into view unless the reader asked for a turn. */
function markFound(pane, { text, turn }) {
  if (!window.Highlight) return; // an old browser finds the episode, but does not mark the words
  CSS.highlights.delete("found");
  if (!text) return;
  const ranges = [...pane.querySelectorAll(".answer, .turn .observation")].flatMap((block) => rangesOf(block, text.toLowerCase()));
  CSS.highlights.set("found", new Highlight(...ranges));
  if (!turn) ranges[0]?.startContainer.parentElement.scrollIntoView({ block: "center" });
}

/** Every place of the words in a block, across the elements that its text is cut into. */
function rangesOf(block, wanted) {
  const nodes = [];
  const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
  let length = 0;
  while (walker.nextNode()) {
    nodes.push({ node: walker.currentNode, from: length });
    length += walker.currentNode.length;
  }
  const whole = block.textContent.toLowerCase();
  if (whole.length !== length) return []; // a letter whose lower case is longer would shift all others
  const ranges = [];
  for (let at = whole.indexOf(wanted); at >= 0; at = whole.indexOf(wanted, at + wanted.length)) {
    const range = document.createRange();
    range.setStart(...boundary(nodes, at));
    range.setEnd(...boundary(nodes, at + wanted.length));
    ranges.push(range);
  }
  return ranges;
}

function boundary(nodes, offset) {
  const found = nodes.findLast(({ from }) => from <= offset);
  return [found.node, Math.min(offset - found.from, found.node.length)];
}
