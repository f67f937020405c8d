// Numbers with units, money, times in the viewer's zone. Pure functions.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const hundredths = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const threeDigits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const LAMPORTS_PER_SOL = 1_000_000_000;

export const NONE = "–";

/** 12,345 */
export function count(value) {
  return value === null || value === undefined ? NONE : whole.format(value);
}

/** "1 ticket", "1,204 tickets" */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** 93.4 %. Hardly any is not none, and nearly all is not all; a little more than all is not all either. */
export function percent(value) {
  if (value === null || value === undefined) return NONE;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  if (value < 100 && value > 99.9) return "> 99.9 %";
  if (value > 100 && value < 100.1) return "> 100 %";
  return `${tenths.format(value)} %`;
}

/** A rate: 0.34, 12.3, 140 */
export function rate(value) {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return "0";
  return new Intl.NumberFormat("en", { maximumSignificantDigits: value < 100 ? 3 : 4, maximumFractionDigits: 2 }).format(value);
}

/** Lamports as SOL, exact to the lamport: for what somebody agrees to. */
export function sol(lamports) {
  if (lamports === null || lamports === undefined) return NONE;
  const sign = lamports < 0 ? "-" : "";
  const amount = Math.abs(lamports);
  const rest = String(amount % LAMPORTS_PER_SOL).padStart(9, "0").replace(/0+$/, "");
  return `${sign}${whole.format(Math.floor(amount / LAMPORTS_PER_SOL))}${rest && `.${rest}`} SOL`;
}

/** Lamports as SOL, rounded for a glance: what somebody owns or agrees to is said by `sol`. Hardly any is not none. */
export function solShort(lamports) {
  if (lamports === null || lamports === undefined) return NONE;
  const value = lamports / LAMPORTS_PER_SOL;
  const amount = Math.abs(value);
  if (amount > 0 && amount < 0.0001) return value < 0 ? "> -0.0001 SOL" : "< 0.0001 SOL";
  return `${(amount >= 100 ? tenths : amount >= 1 ? hundredths : threeDigits).format(value)} SOL`;
}

/** A length of time: 0.4 s, 40 s, 3 min 20 s, 2 h 5 min, 3 d 4 h */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NONE;
  if (seconds < 10) return `${tenths.format(seconds)} s`;
  const all = Math.round(seconds);
  if (all < 90) return `${all} s`;
  const [d, h, m, s] = [Math.floor(all / 86400), Math.floor(all / 3600) % 24, Math.floor(all / 60) % 60, all % 60];
  if (d > 0) return h ? `${d} d ${h} h` : `${d} d`;
  if (h > 0) return m ? `${h} h ${m} min` : `${h} h`;
  return m < 10 && s ? `${m} min ${s} s` : `${m} min`;
}

/** What is left, for a sentence: "about 40 s" */
export function about(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 1) return "a second";
  const rounded = seconds < 20 ? Math.round(seconds) : seconds < 120 ? Math.round(seconds / 5) * 5 : Math.round(seconds / 60) * 60;
  return `about ${duration(rounded)}`;
}

export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [amount, unit] = [value, 0];
  while (amount >= 1024 && unit < units.length - 1) [amount, unit] = [amount / 1024, unit + 1];
  return `${tenths.format(amount)} ${units[unit]}`;
}

const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minuteFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const weekdayFormat = new Intl.DateTimeFormat("en-GB", { weekday: "short" });
const dayFormat = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const yearFormat = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const fullFormat = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });

/** 12:03:10 */
export const clock = (date) => clockFormat.format(date);

/** Time today, day and time else. */
export function when(date, now = new Date()) {
  if (Number.isNaN(date.getTime())) return NONE;
  if (date.toDateString() === now.toDateString()) return clockFormat.format(date);
  const day = date.getFullYear() === now.getFullYear() ? dayFormat : yearFormat;
  return `${day.format(date)}, ${minuteFormat.format(date)}`;
}

export const whenInFull = (date) => (Number.isNaN(date.getTime()) ? "" : fullFormat.format(date));

/** The beginning of a period of a chart; `long` for charts of more than a day. Days are UTC's. */
export function period(date, stepSeconds, long = false) {
  if (stepSeconds >= 86400) {
    return new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" }).format(date);
  }
  return long ? `${weekdayFormat.format(date)} ${minuteFormat.format(date)}` : minuteFormat.format(date);
}

export function periodInFull(date, stepSeconds) {
  if (stepSeconds >= 86400) {
    return `${new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" }).format(date)} (UTC)`;
  }
  return `${dayFormat.format(date)}, ${minuteFormat.format(date)}`;
}

/** A long id or address, with its middle left out. */
export function short(text, head = 6, tail = 4) {
  const letters = [...text];
  return letters.length <= head + tail + 2 ? text : `${letters.slice(0, head).join("")}…${letters.slice(-tail).join("")}`;
}
