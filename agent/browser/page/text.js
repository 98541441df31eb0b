// Text that a model wrote: what could hide in it is made visible, what is too long is cut open.

// Control characters, marks that reverse or hide text, and the tags that spell invisible words.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]|[\u{e0000}-\u{e0fff}]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/gu;
const CUT = 20_000;

/** The text, with hidden characters spelt out. */
function shown(text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > from) parts.push(text.slice(from, match.index));
    parts.push(make("span", { class: "hidden-character" }, codePoint(match[0])));
    from = match.index + match[0].length;
  }
  if (from < text.length) parts.push(text.slice(from));
  return parts;
}

function codePoint(character) {
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}

/** A block of text; of a very long one the beginning, and a button for more. */
function textBlock(text, className) {
  const block = make("pre", { class: className, tabindex: 0 });
  showMore(block, text, 0);
  return block;
}

function showMore(block, text, from) {
  const to = Math.min(text.length, from + CUT);
  block.append(...shown(text.slice(from, to)));
  if (to === text.length) return;
  const button = make("button", { type: "button", class: "more" }, `Show more: ${count(text.length - to)} characters left`);
  button.addEventListener("click", () => {
    button.remove();
    showMore(block, text, to);
  });
  block.append(button);
}
