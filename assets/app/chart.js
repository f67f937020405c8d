// Charts as SVG, coloured by the style sheet: bars for amounts, lines for measures, each with a summary in words and a table.
import { NONE, period, periodInFull } from "./format.js";
import { html, useEffect, useRef, useState } from "./html.js";
import { Card, Table } from "./parts.js";

const HEIGHT = 170;
const EDGE = { top: 10, right: 8, bottom: 22, left: 52 };

/** The last readings of the speed, without axes. */
export function Spark({ values }) {
  if (values.length < 2) return html`<svg class="spark" viewBox="0 0 100 24" aria-hidden="true"></svg>`;
  const most = Math.max(...values, 0.001);
  const points = values.map((value, index) => `${(100 * index) / (values.length - 1)},${22 - (20 * value) / most}`);
  return html`<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
    <polygon points=${`0,24 ${points.join(" ")} 100,24`} /><polyline points=${points.join(" ")} /></svg>`;
}

/** Round numbers for an axis that begins at 0. Things that are counted have no fractions: `whole`. */
export function ticks(most, whole = false, wanted = 3) {
  if (!(most > 0)) return [0, 1];
  const raw = whole ? Math.max(most / wanted, 1) : most / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw && !(whole && candidate % 1));
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, index) => index * step);
}

function useWidth() {
  const ref = useRef();
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.round(entry.contentRect.width)));
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

/**
 * series: { name, tone, values, shape: "bar" | "line" | "mark" }, all as long as `periods` (dates). `say` writes a value with its unit, `axis` one
 * for the axis, which has `whole` numbers only for what is counted. Bars are stacked. `summary` says in words what there is to see.
 */
export function Chart({ title, summary, periods, step, series, say, axis = say, empty = "Nothing happened in this time.", mostAtLeast = 0, cap = Infinity, whole = false }) {
  const [ref, width] = useWidth();
  const [at, setAt] = useState(null);
  const bars = series.filter((one) => one.shape === "bar");
  const lines = series.filter((one) => one.shape === "line");
  const levels = series.filter((one) => one.shape === "mark");
  const stacks = periods.map((_, index) => bars.reduce((all, one) => all + (one.values[index] ?? 0), 0));
  const most = Math.max(mostAtLeast, ...stacks, ...[...lines, ...levels].flatMap((one) => one.values.map((value) => value ?? 0)));
  const nothing = series.every((one) => one.values.every((value) => !value));
  const marks = ticks(Math.min(most, cap), whole);
  const top = marks.at(-1);
  const inner = { width: Math.max(width - EDGE.left - EDGE.right, 10), height: HEIGHT - EDGE.top - EDGE.bottom };
  const slot = inner.width / periods.length;
  const x = (index) => EDGE.left + slot * (index + 0.5);
  const y = (value) => EDGE.top + inner.height * (1 - value / top);
  const shown = at === null || at >= periods.length ? null : at;
  const move = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const index = Math.floor((event.clientX - box.left - EDGE.left) / slot);
    setAt(index >= 0 && index < periods.length ? index : null);
  };
  const long = periods.at(-1) - periods[0] > 86_400_000;
  const every = Math.max(1, Math.ceil(periods.length / Math.max(2, Math.floor(inner.width / (long ? 90 : 74)))));
  return html`<${Card} title=${title} className="chart">
    <p class="fine">${summary}</p>
    <ul class="legend" aria-hidden="true">${series.map((one) => html`<li key=${one.name}><span class=${`swatch ${one.tone} ${one.shape}`}></span>${one.name}${shown !== null && html` <strong>${one.values[shown] === null || one.values[shown] === undefined ? NONE : say(one.values[shown])}</strong>`}</li>`)}
      <li class="chart-at">${shown === null ? "" : periodInFull(periods[shown], step)}</li></ul>
    <div class="plot" ref=${ref}>${width > 0 && html`<svg role="img" aria-label=${`${title}. ${summary}`} width=${width} height=${HEIGHT} onPointerMove=${move} onPointerDown=${move} onPointerLeave=${() => setAt(null)}>
      ${marks.map((mark) => html`<g class="axis" key=${mark}><line x1=${EDGE.left} x2=${width - EDGE.right} y1=${y(mark)} y2=${y(mark)} /><text x=${EDGE.left - 8} y=${y(mark) + 4} text-anchor="end">${axis(mark)}</text></g>`)}
      ${periods.map((date, index) => index % every === 0 && html`<text class="tick" key=${index} x=${x(index)} y=${HEIGHT - 5} text-anchor="middle">${period(date, step, long)}</text>`)}
      ${shown !== null && html`<rect class="cursor" x=${EDGE.left + slot * shown} y=${EDGE.top} width=${slot} height=${inner.height} />`}
      ${stacked(bars, periods.length).map((bar) => html`<rect class=${`bar ${bar.tone}${bar.index === periods.length - 1 ? " running" : ""}`} key=${`${bar.tone}${bar.index}`}
        x=${EDGE.left + slot * bar.index + Math.min(slot * 0.12, 3)} width=${Math.max(slot - 2 * Math.min(slot * 0.12, 3), 1)} y=${y(bar.to)} height=${Math.max(y(bar.from) - y(bar.to), bar.to > bar.from ? 1 : 0)} />`)}
      ${lines.map((one) => html`<g class=${`series ${one.tone}`} key=${one.name}>${runs(one.values).map((run) => run.length === 1
        ? html`<circle cx=${x(run[0])} cy=${y(Math.min(one.values[run[0]], top))} r="2.5" />`
        : html`<polyline points=${run.map((index) => `${x(index)},${y(Math.min(one.values[index], top))}`).join(" ")} />`)}</g>`)}
      ${levels.map((one) => html`<g class=${`marks ${one.tone}`} key=${one.name}>${one.values.map((value, index) => value > 0 && html`<line key=${index} x1=${x(index) - slot / 2} x2=${x(index) + slot / 2} y1=${y(value)} y2=${y(value)} />`)}</g>`)}
      ${nothing && html`<text class="nothing" x=${EDGE.left + inner.width / 2} y=${EDGE.top + inner.height / 2} text-anchor="middle">${empty}</text>`}
    </svg>`}</div>
    <${AsTable} title=${title} periods=${periods} step=${step} series=${series} say=${say} />
  <//>`;
}

/** The same as numbers; made only when it is opened, for a year has many rows. */
function AsTable({ title, periods, step, series, say }) {
  const [open, setOpen] = useState(false);
  return html`<details onToggle=${(event) => setOpen(event.currentTarget.open)}><summary>As a table</summary>${open && html`<div class="tall" tabindex="0" role="region" aria-label=${`${title}, as a table`}>
    <${Table} label=${title} rows=${periods.map((date, index) => ({ date, index })).reverse()} rowKey=${(row) => row.index} columns=${[
      { name: "From", cell: ({ date }) => periodInFull(date, step) },
      ...series.map((one) => ({ name: one.name, className: "right", cell: ({ index }) => (one.values[index] === null || one.values[index] === undefined ? NONE : say(one.values[index])) })),
    ]} /></div>`}</details>`;
}

function stacked(bars, length) {
  return Array.from({ length }, (_, index) => {
    let from = 0;
    return bars.map(({ tone, values }) => {
      const bar = { tone, index, from, to: from + (values[index] ?? 0) };
      from = bar.to;
      return bar;
    });
  }).flat().filter((bar) => bar.to > bar.from);
}

/** Stretches without gaps. */
function runs(values) {
  const all = [];
  values.forEach((value, index) => {
    if (value === null || value === undefined) return;
    if (all.at(-1)?.at(-1) === index - 1) all.at(-1).push(index);
    else all.push([index]);
  });
  return all;
}
