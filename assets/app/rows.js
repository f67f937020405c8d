// Where a ticket stands in its file, for what the box says of tickets and people look up in rows.

/** The text of a file; spreadsheets write UTF-16, too. */
function textOf(bytes) {
  const mark = bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : "utf-8";
  return new TextDecoder(mark).decode(bytes);
}

/** The records of a CSV text: the line on which each begins, and its cells. Quoted cells may hold anything. */
export function* records(text) {
  const head = text.split("\n", 1)[0];
  const separator = [",", ";", "\t"].map((one) => [head.split(one).length, one]).reduce((best, one) => (one[0] > best[0] ? one : best))[1];
  let [line, begins, cells, from, quoted] = [1, 1, [], 0, false];
  for (let at = 0; at <= text.length; at += 1) {
    const letter = text[at];
    // A quote in the middle of a cell is a letter; two in a quoted one are, too.
    if (letter === '"' && (quoted || text[at - 1] === '"' || text.slice(from, at).trim() === "")) quoted = !quoted;
    const ends = letter === undefined || (letter === "\n" && !quoted);
    if (ends || (letter === separator && !quoted)) {
      cells.push(text.slice(from, at).trim().replace(/^"([^]*)"$/, "$1").replaceAll('""', '"').trim());
      from = at + 1;
    }
    if (letter === "\n") line += 1;
    if (!ends) continue;
    if (cells.length > 1 || cells[0] !== "") yield [begins, cells];
    [begins, cells] = [line, []];
  }
}

/** The line, or the entry of a JSON list, at which each ticket id stands first. What cannot be read is not found. */
export function rowsOf(bytes, isJson) {
  const rows = new Map();
  const note = (id, row) => rows.has(id) || rows.set(id, row);
  const text = textOf(bytes);
  if (isJson) {
    const whole = JSON.parse(text);
    (Array.isArray(whole) ? whole : whole.tickets).forEach((one, index) => note(String(one?.id), index + 1));
    return rows;
  }
  let column = null;
  for (const [line, cells] of records(text)) {
    if (column === null) column = cells.findIndex((name) => ["id", "ticketid"].includes(name.toLowerCase().replace(/[_\- ]/g, "")));
    else if (cells[column]) note(cells[column], line);
  }
  return rows;
}
