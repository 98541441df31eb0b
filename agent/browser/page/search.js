// Looks for words in every answer and observation: chunk by chunk, as none of them is in the index.

let searchFound = { text: "", rows: null };

/** The rows whose episodes hold the text, or null without one; a newer search ends an older one. */
async function rowsWithText(text, stillWanted) {
  if (!text) return null;
  if (searchFound.text === text) return searchFound.rows;
  const wanted = text.toLowerCase();
  const rows = new Set();
  const chunks = grouped(rowsWhere((row) => facts.place[row]), (row) => facts.place[row][0]);
  let done = 0;
  for (const [number, members] of chunks) {
    const chunk = await load(chunkName(number));
    if (!stillWanted()) return null;
    for (const row of members) if (holds(chunk[facts.place[row][1]], wanted)) rows.add(row);
    done += 1;
    notice(`Searching: ${percent(done / chunks.size)}, ${plural(rows.size, "episode")} found`);
  }
  searchFound = { text, rows };
  return rows;
}

function holds(transcript, wanted) {
  return transcript.turns.some((turn) => turn.text.toLowerCase().includes(wanted) || turn.observation.toLowerCase().includes(wanted));
}
