// All views, for screens without a side bar.
import { html } from "../html.js";
import { Page } from "../parts.js";
import { ROOMS } from "../shell.js";

export function More() {
  return html`<${Page} title="More" />${ROOMS.map(({ group, rooms }) => html`<section class="card" key=${group}><h2>${group}</h2><ul class="links">${rooms.map(([id, href, name]) => html`
    <li key=${id}><a href=${href}>${name}</a></li>`)}</ul></section>`)}
    <p class="fine"><a href="docs">The API, to read and to try</a></p>`;
}
