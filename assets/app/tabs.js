// The key among the open tabs of this browser: a tab that has none asks, and those that have one answer. It is handed on while both are
// open, and written nowhere for that.
const PATIENCE_MS = 300;

// Boxes behind one proxy share an origin, and not their keys.
const name = `boxoffice.key ${new URL(".", document.baseURI).pathname}`;
let channel = null;
try {
  channel = new BroadcastChannel(name);
} catch {
  // Without channels each tab asks the person.
}

/** How often the key was forgotten, here or in another tab: what was handed on before that is good no more. */
let times = 0;
export const forgotten = () => times;

/** Asks the other tabs for the key: null when none has one, or it is forgotten meanwhile. */
export function askTabs() {
  if (!channel) return Promise.resolve(null);
  const before = times;
  return new Promise((resolve) => {
    const done = (key) => {
      clearTimeout(timer);
      channel.removeEventListener("message", heard);
      resolve(times === before ? key : null);
    };
    const heard = ({ data }) => typeof data?.key === "string" && done(data.key);
    const timer = setTimeout(done, PATIENCE_MS, null);
    channel.addEventListener("message", heard);
    channel.postMessage("ask");
  });
}

/** The key is forgotten in all tabs. */
export function forgetInTabs() {
  times += 1;
  channel?.postMessage("forget");
}

/** Answers other tabs with what `give` gives, unless that is null; and hears when they forget the key. */
export function listenToTabs({ give, onForget }) {
  channel?.addEventListener("message", ({ data }) => {
    if (data === "forget") {
      times += 1;
      onForget();
    } else if (data === "ask") {
      const key = give();
      if (key !== null) channel.postMessage({ key });
    }
  });
}
