// CSV made in the browser. Spreadsheets run cells that begin like a formula: those get an apostrophe before them.

const FORMULA = /^[\s\u00a0\ufeff]*[=+\-@\t\r\n|%＝＋－＠]/u;

export function cell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  const harmless = typeof value !== "number" && FORMULA.test(text) ? `'${text}` : text;
  return `"${harmless.replaceAll('"', '""')}"`;
}

export function csv(header, rows) {
  return [header, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** Hands a file to the person. */
export function download(name, text) {
  // The mark tells spreadsheets that it is UTF-8.
  const url = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name.replace(/[^\p{L}\p{N}._-]+/gu, "-");
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
