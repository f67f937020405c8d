// One decision, one idempotency key: a repetition of what was decided is the same action for the box, and the next decision another.

/** randomUUID is missing on plain http. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A refusal is final. Without an answer it may have been done; without a key, or too often, nobody has decided. */
export const refused = ({ status, code }) => status >= 400 && status < 500 && status !== 401 && status !== 429 && code !== "request_in_flight";

/** A decision that is `lastsMs` old is one no more: an answer from that time would be taken for one of now. */
export function newDecision(lastsMs = Infinity) {
  let held = null;
  return {
    /** The key for doing `what`. */
    key(what) {
      const now = Date.now();
      if (held?.what !== what || now - held.at > lastsMs) held = { what, key: newKey(), at: now };
      return held.key;
    },
    /** It was done, or refused with a problem. */
    ended(problem = null) {
      if (problem === null || refused(problem)) held = null;
    },
    /** Whoever decides anew means something new. */
    drop() {
      held = null;
    },
  };
}
