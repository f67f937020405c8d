// What changes the box: buttons, the question before it, doing it once, and how a refusal looks.
import { act, access, asProblem, mayAct } from "./api.js";
import { newDecision, refused } from "./decision.js";
import { html, useId, useLayoutEffect, useRef, useState } from "./html.js";
import { Icon, Note, Words } from "./parts.js";
import { useStore } from "./store.js";

/** A button for something that changes the box. A key that may only look disables it, and says so. */
export function ActionButton({ onClick, children, kind = "", busy = false, disabled = false, label, type = "button" }) {
  useStore(access);
  const may = mayAct();
  const hint = useId();
  return html`<button type=${type} class=${`button ${kind}`} disabled=${!may.allowed || busy || disabled} aria-label=${label}
      aria-describedby=${may.allowed ? undefined : hint} title=${may.reason ?? undefined} onClick=${onClick}>${busy ? html`<${Icon} kind="busy" />` : null}${children}</button>
    ${!may.allowed && html`<span class="visually-hidden" id=${hint}>${may.reason}</span>`}`;
}

/** Says once on a view that its actions are out of reach, and why. */
export function ReadOnlyHint() {
  useStore(access);
  const may = mayAct();
  return may.allowed ? null : html`<p class="hint"><${Icon} kind="off" /> ${may.reason} Actions are switched off.</p>`;
}

/**
 * Does one thing once: while it is under way it cannot be started again, and a repetition after a lost answer is known to the box.
 * `clear`, as when a dialog opens, begins a new decision; without a dialog it ends after `lastsMs`.
 */
export function useAction({ lastsMs } = {}) {
  const [state, setState] = useState(IDLE);
  const decision = useRef(null);
  decision.current ??= newDecision(lastsMs);
  const busy = useRef(false);
  const run = async (method, path, options = {}) => {
    if (busy.current) return null;
    busy.current = true;
    const actionKey = decision.current.key(JSON.stringify([method, path, options.query, options.body]));
    setState({ ...IDLE, busy: true });
    try {
      const result = await act(method, path, { ...options, actionKey });
      decision.current.ended();
      setState({ ...IDLE, result });
      return result;
    } catch (error) {
      const problem = asProblem(error);
      decision.current.ended(problem);
      setState({ ...IDLE, problem });
      return null;
    } finally {
      busy.current = false;
    }
  };
  const clear = () => {
    decision.current.drop();
    setState(IDLE);
  };
  return { ...state, run, clear };
}
const IDLE = { busy: false, problem: null, result: null };
/** How long a click without a dialog is the same one. */
export const CLICK_MS = 60_000;

/** The box knew the request by its key: what it says is from then. */
export function AsBefore({ result }) {
  return result?.replayed ? html`<p class="hint"><${Icon} kind="off" /> Answered as before: the box had done this already, and did nothing again.</p>` : null;
}

export function Dialog({ title, onClose, children, className = "" }) {
  const ref = useRef();
  const heading = useId();
  // Before the next key is read: it must not go to what is behind.
  useLayoutEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    if (!dialog.open) dialog.showModal();
    return () => {
      if (dialog.open) dialog.close();
      if (before?.isConnected) before.focus();
    };
  }, []);
  return html`<dialog ref=${ref} class=${className} aria-labelledby=${heading} onCancel=${(event) => { event.preventDefault(); onClose(); }}>
    <h2 id=${heading}>${title}</h2>${children}
  </dialog>`;
}

/** Asks before something that costs money or changes books. `confirm` names what happens: "Mint for 0.0589 SOL". */
export function Confirm({ title, confirm, kind = "primary", action, disabled = false, onConfirm, onClose, children }) {
  // What the box has refused for good is not offered again.
  const over = action.problem !== null && refused(action.problem) && !action.problem.retryable;
  return html`<${Dialog} title=${title} onClose=${() => !action.busy && onClose()}>
    ${children}
    <${ActionProblem} problem=${action.problem} />
    <div class="actions">
      <button type="button" class="button" disabled=${action.busy} onClick=${onClose}>Cancel</button>
      <${ActionButton} kind=${kind} busy=${action.busy} disabled=${disabled || over} onClick=${onConfirm}>${confirm}<//>
    </div>
  <//>`;
}

/** Where the box speaks of fields of its API. */
const REFUSALS = { over_budget: "It costs more now than you agreed to, so nothing was sent. Check again to see today’s price." };

export function ActionProblem({ problem }) {
  if (!problem) return null;
  const wait = problem.retryAfterMs == null ? "" : ` It may be tried again in ${Math.ceil(problem.retryAfterMs / 1000)} s.`;
  const unsure = problem.status === 0 ? " Whether it was done is not known. Trying again is safe: it is not done twice." : "";
  return html`<div role="alert"><${Note} kind="bad" title="Not done"><p><${Words}>${REFUSALS[problem.code] ?? problem.message}<//>${wait}${unsure}</p><//></div>`;
}

/**
 * A button for what is looked into first: `look` finds out what would come of it, `question` puts that into words, and `request` is
 * what is done once somebody agrees.
 */
export function AskFirst({ children, kind, look, question, request, onDone }) {
  const action = useAction();
  const [state, setState] = useState({ busy: false, problem: null, plan: null });
  const ask = async () => {
    setState({ busy: true, problem: null, plan: null });
    action.clear();
    try {
      setState({ busy: false, problem: null, plan: await look() });
    } catch (error) {
      setState({ busy: false, problem: asProblem(error), plan: null });
    }
  };
  const close = () => setState({ busy: false, problem: null, plan: null });
  const agree = async () => {
    const result = await action.run(...request(state.plan));
    if (!result) return;
    close();
    onDone(result);
  };
  const { title, confirm, ready, words } = state.plan ? question(state.plan) : {};
  return html`<${ActionButton} kind=${kind} busy=${state.busy} onClick=${ask}>${children}<//>
    <${ActionProblem} problem=${state.problem} />
    ${state.plan && html`<${Confirm} title=${title} confirm=${confirm} action=${action} disabled=${!ready} onConfirm=${agree} onClose=${close}>${words}<//>`}`;
}
