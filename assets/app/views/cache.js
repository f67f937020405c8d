// What was found out before, and forgetting it.
import { ActionButton, AsBefore, CLICK_MS, Confirm, ReadOnlyHint, useAction } from "../actions.js";
import { useData } from "../data.js";
import { bytes, count, counted, percent } from "../format.js";
import { html, useState } from "../html.js";
import { Card, Fact, Facts, Loaded, Note, Page, Status, Words } from "../parts.js";

export function Cache() {
  const stats = useData("admin/cache/stats", {}, { every: 5_000 });
  const action = useAction({ lastsMs: CLICK_MS });
  const [asking, setAsking] = useState(false);
  const [done, setDone] = useState(null);
  const clear = async () => {
    const result = await action.run("DELETE", "admin/cache/clear");
    if (!result) return;
    setAsking(false);
    setDone(result);
    stats.reload();
  };
  return html`<${Page} title="Cache" actions=${html`<${ActionButton} onClick=${() => { action.clear(); setDone(null); setAsking(true); }}>Clear the cache…<//>`} /><${ReadOnlyHint} />
    <div role="status">${done && html`<${Note} kind="ok" title="The cache is empty"><p>${counted(done.body.removed, "value")} forgotten. It fills by itself.</p><//><${AsBefore} result=${done} />`}</div>
    <${Loaded} from=${stats}>${(data) => html`
      <${Card} title="Values" aside=${html`<${Status} kind=${!data.enabled ? "off" : data.connected ? "ok" : "warn"}>${!data.enabled ? "Off" : data.connected ? "Well" : "Does not answer"}<//>`}><${Facts}>
        <${Fact} name="Kept in">${data.backend === "redis" ? "Redis, with other boxes" : "this box’s memory"}<//><${Fact} name="Values">${count(data.keyCount)}<//>
        <${Fact} name="Size" hint=${data.maxBytes === null ? null : `of ${bytes(data.maxBytes)}`}>${bytes(data.bytes)}<//>
        <${Fact} name="Answered" hint=${`${count(data.hits)} of ${counted(data.hits + data.misses, "look-up")}`}>${data.hits + data.misses ? percent(data.hitRate) : "–"}<//>
        <${Fact} name="Errors">${count(data.errors)}<//>
      <//>${data.lastError && html`<p class="bad-text"><${Words}>${data.lastError}<//></p>`}<//>
      ${data.uploads && html`<${Card} title="Uploads since the start"><${Facts}>
        <${Fact} name="Uploaded" hint=${`in ${counted(data.uploads.requests, "request")}`}>${counted(data.uploads.files, "file")}, ${bytes(data.uploads.bytes)}<//>
        <${Fact} name="Saved" hint="were there already">${counted(data.uploads.savedFiles, "file")}, ${bytes(data.uploads.savedBytes)}<//>
      <//><//>`}`}<//>
    ${asking && html`<${Confirm} title="Clear the cache?" confirm="Clear the cache" kind="danger" action=${action} onConfirm=${clear} onClose=${() => setAsking(false)}>
      <p>The box forgets what it found out before. Nothing is lost: it looks things up again, and is a little slower for a while. It costs no SOL.</p><//>`}`;
}
