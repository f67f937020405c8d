// The question for the key.
import { ActionProblem, Dialog } from "./actions.js";
import { dismiss, enter } from "./api.js";
import { html, useId, useState } from "./html.js";

const REASONS = {
  first: "This box answers nobody without a key. Whoever runs it makes one with boxoffice key create.",
  revoked: "The key that was entered before is not (or no longer) good: it may have been revoked. Enter another one; you stay where you are.",
};

export function KeyDialog({ reason }) {
  const field = useId();
  const [state, setState] = useState({ busy: false, wrong: false, problem: null, shown: false });
  const submit = async (event) => {
    event.preventDefault();
    const key = new FormData(event.target).get("key").trim();
    if (!key || state.busy) return;
    // A header takes no such letters, and no key has them.
    if (!/^[\x21-\x7e]+$/.test(key)) return setState({ ...state, wrong: true, problem: null });
    setState({ ...state, busy: true, wrong: false, problem: null });
    try {
      const outcome = await enter(key);
      if (outcome === "wrong") setState((old) => ({ ...old, busy: false, wrong: true }));
    } catch (problem) {
      setState((old) => ({ ...old, busy: false, problem }));
    }
  };
  return html`<${Dialog} title="Enter the key" onClose=${dismiss} className="key-dialog">
    <p>${REASONS[reason] ?? REASONS.first}</p>
    <form onSubmit=${submit}>
      <label for=${field}>Key</label>
      <input id=${field} name="key" type=${state.shown ? "text" : "password"} autocomplete="off" autocapitalize="off" spellcheck=${false} required
        aria-invalid=${state.wrong ? "true" : undefined} aria-describedby=${`${field}-said ${field}-kept`} autofocus />
      <p class="field-said" id=${`${field}-said`} role="alert">${state.wrong ? "This key is wrong: the box does not know it. Look for letters that were left out." : ""}</p>
      <label class="check"><input type="checkbox" checked=${state.shown} onChange=${(event) => setState({ ...state, shown: event.target.checked })} /> Show the key</label>
      <${ActionProblem} problem=${state.problem} />
      <p class="fine" id=${`${field}-kept`}>Kept for this browser session only, shared with new tabs of this page while one is open, and sent to this box alone.</p>
      <div class="actions">
        <button type="button" class="button" onClick=${dismiss}>Not now</button>
        <button type="submit" class="button primary" disabled=${state.busy}>${state.busy ? "Looking…" : "Unlock"}</button>
      </div>
    </form>
  <//>`;
}
