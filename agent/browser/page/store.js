// Loads what lies beside the page: the index at once, the rest when it is asked for. A page opened
// from a disk may not fetch, so every file is a script that hands its content to `receive`.

const KEPT_CHUNKS = 24;
const FILES = /^(index|episodes\/(\d{4,}|openings))\.js$/;
const arrivals = new Map();
const loaded = new Map();

// Where browsers know trusted types, nothing but a file of this page can become a script.
const files = window.trustedTypes
  ? window.trustedTypes.createPolicy("episodes", { createScriptURL: checkedFile })
  : { createScriptURL: checkedFile };

function checkedFile(path) {
  if (!FILES.test(path)) throw new TypeError(`${path} is no file of this page`);
  return path;
}

/** Called by the files themselves. */
function receive(name, payload) {
  arrivals.get(name)?.(payload);
}

function load(name) {
  if (!loaded.has(name)) {
    const content = arrival(name).then(unpack);
    loaded.set(name, content);
    content.catch(() => loaded.delete(name));
    forgetOldChunks();
  }
  return loaded.get(name);
}

function arrival(name) {
  return new Promise((resolve, reject) => {
    const path = name === "index" ? "index.js" : `episodes/${name}.js`;
    const script = document.createElement("script");
    const fail = () => reject(new Error(`${path} is missing or damaged: build the page again`));
    arrivals.set(name, resolve);
    script.onerror = fail;
    script.onload = () => {
      script.remove();
      if (arrivals.delete(name)) fail(); // no-op once it has been received
    };
    script.src = files.createScriptURL(path);
    document.head.append(script);
  });
}

async function unpack(payload) {
  const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

function forgetOldChunks() {
  const chunks = [...loaded.keys()].filter((name) => /^\d+$/.test(name));
  for (const name of chunks.slice(0, -KEPT_CHUNKS)) loaded.delete(name);
}

function chunkName(number) {
  return String(number).padStart(4, "0");
}

/** The transcript of a row, or null for a yardstick that nobody played. */
async function loadTranscript(row) {
  const place = facts.place[row];
  if (!place) return null;
  const [openings, chunk] = await Promise.all([load("openings"), load(chunkName(place[0]))]);
  const transcript = chunk[place[1]];
  return { ...transcript, opening: openings[transcript.opening] };
}
