// Follows a study by server-sent events, everything else by looking again; where events fail, by looking again, too.
// A part that shows a study says with data-revision how far it is, and with data-over that nothing more will happen: so
// a study that an action sets going again is followed again. With data-soon it waits for its report;
// with data-poll it looks again besides, for what makes no event: the epochs of a running trial.

import {reload} from "./parts.js";

const POLL_MS = 15_000;
const GATHER_MS = 1_000;
const ASK_MS = 2_000;   // for the report of a study that has just ended
const MOST_ASKED = 30;

let stream = null;
let gathering = null;
let polling = null;
let isRefused = false;
let isPolled = false;
let nAsked = 0;
const say = (text, kind) => {
  const box = document.getElementById("live");
  if (box.textContent === text) return;
  box.setAttribute("aria-live", box.className === `live ${kind}` ? "off" : "polite");
  box.textContent = text;
  box.className = `live ${kind}`;
};
const sayWhen = (kind = "polled") => say(`as of ${new Date().toTimeString().slice(0, 8)}`, kind);

function soon() {
  gathering ??= setTimeout(() => { gathering = null; reload(); }, GATHER_MS);
}

function poll() {
  polling ??= setInterval(() => {
    if (document.hidden) return;
    isRefused = false;
    reload();
    if (stream?.readyState !== EventSource.OPEN) sayWhen();
  }, POLL_MS);
}
function stopPolling() { clearInterval(polling); polling = null; }

function open(study, revision) {
  stream = new EventSource(`/api/v1/studies/${study}/events?after=${revision}`);
  stream.onopen = () => { say("live", "on"); if (!isPolled) stopPolling(); };
  stream.onmessage = soon;
  stream.onerror = () => {
    sayWhen();
    if (stream?.readyState === EventSource.CLOSED) { stream = null; isRefused = true; reload(); }
    poll();
  };
}

function judge(study, {revision, over, soon: isAwaited, poll: polled}) {
  isPolled = polled !== undefined;
  if (isPolled) poll();
  if (isAwaited !== undefined && nAsked < MOST_ASKED) { nAsked += 1; setTimeout(reload, ASK_MS, "#overview"); }
  if (over !== undefined) { stream?.close(); stream = null; stopPolling(); sayWhen(""); }
  else if (!stream && !isRefused) open(study, revision);
}

export function follow() {
  const {study, refresh} = document.body.dataset;
  if (refresh) { sayWhen(); poll(); return; }
  if (!document.getElementById("search")) return;
  if (!study) { sayWhen(""); return; }
  const now = (root) => root.querySelector("[data-revision]");
  judge(study, now(document).dataset);
  document.addEventListener("part", ({detail}) => { const found = now(detail); if (found) judge(study, found.dataset); });
  addEventListener("pagehide", () => { stream?.close(); stream = null; });
  addEventListener("pageshow", ({persisted}) => { if (persisted) reload(); });
}
