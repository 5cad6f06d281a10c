// Follows a study by server-sent events, everything else by looking again; where events fail, by looking again, too.

import {reload} from "./parts.js";

const POLL_MS = 15_000;
const GATHER_MS = 1_000;

let gathering = null;
let polling = null;
const say = (text, kind) => {
  const box = document.getElementById("live");
  if (box.textContent !== text) box.textContent = text;
  box.className = `live ${kind}`;
};
const now = () => new Date().toTimeString().slice(0, 8);

function soon() {
  gathering ??= setTimeout(() => { gathering = null; reload(); }, GATHER_MS);
}

function poll() {
  polling ??= setInterval(() => { if (!document.hidden) { reload(); say(`as of ${now()}`, "polled"); } }, POLL_MS);
}

export function follow() {
  const {study, revision, state, refresh} = document.body.dataset;
  if (refresh) { say(`as of ${now()}`, "polled"); poll(); return; }
  if (!document.getElementById("search")) return;
  if (!study) { say(`as of ${now()}`, ""); return; }
  if (["FINISHED", "FAILED", "CANCELLED"].includes(state)) { say(`as of ${now()}`, ""); return; }
  const stream = new EventSource(`/api/v1/studies/${study}/events?after=${revision}`);
  stream.onopen = () => { say("live", "on"); clearInterval(polling); polling = null; };
  stream.onmessage = soon;
  stream.onerror = () => {
    say(`as of ${now()}`, "polled");
    if (stream.readyState === EventSource.CLOSED) reload();
    else poll();
  };
  addEventListener("pagehide", () => stream.close());
}
