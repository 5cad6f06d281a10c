// Parts of a page that come by themselves: loaded when they come into view, loaded again when their study has news.
// A part whose reload fails keeps what it shows and says since when.

import {getText} from "./http.js";
import {keep} from "./keep.js";

const SLOW_MS = 300;
const seen = new WeakSet();

const observer = new IntersectionObserver((entries) => {
  for (const {target, isIntersecting} of entries) {
    if (isIntersecting && !seen.has(target)) {
      seen.add(target);
      observer.unobserve(target);
      void load(target);
    }
  }
}, {rootMargin: "300px"});

export function watch(root = document) {
  for (const part of root.querySelectorAll("[data-part]")) {
    if (part.dataset.shown !== undefined) seen.add(part);
    else observer.observe(part);
  }
}

// For a link to something inside a part that has not come into view.
export function loadAll() {
  for (const part of document.querySelectorAll("[data-part]")) {
    if (seen.has(part)) continue;
    seen.add(part);
    observer.unobserve(part);
    void load(part);
  }
}

// `isNews` says that nobody asked for it: what a reader has typed stays.
export async function load(part, isNews = false) {
  if (part.dataset.busy) { part.dataset.again = isNews && part.dataset.again !== "asked" ? "news" : "asked"; return; }
  part.dataset.busy = "1";
  const slow = setTimeout(() => part.setAttribute("aria-busy", "true"), SLOW_MS);
  try {
    const {text} = await getText(part.dataset.part);
    replace(part, text, isNews);
    part.dataset.loadedAt = new Date().toISOString();
    part.removeAttribute("data-stale");
  } catch (error) {
    stale(part, error);
  } finally {
    clearTimeout(slow);
    part.removeAttribute("aria-busy");
    delete part.dataset.busy;
  }
  const {again} = part.dataset;
  if (again) { delete part.dataset.again; await load(part, again === "news"); }
}

// Charts that are still wanted stay where they are, so that they can move to their new data instead of flashing.
function replace(part, text, isNews) {
  const next = document.createElement("template");
  next.innerHTML = text;
  const restore = keep(part, next.content, isNews);
  for (const figure of next.content.querySelectorAll("figure[data-chart]")) {
    const old = part.querySelector(`figure[data-chart="${CSS.escape(figure.dataset.chart)}"]`);
    if (old) { figure.replaceWith(old); old.dispatchEvent(new CustomEvent("refresh")); }
  }
  part.replaceChildren(next.content);
  restore();
  watch(part);
  document.dispatchEvent(new CustomEvent("part", {detail: part}));
}

function stale(part, error) {
  if (part.dataset.loadedAt || part.dataset.shown !== undefined) {
    const since = part.dataset.loadedAt ? new Date(part.dataset.loadedAt).toTimeString().slice(0, 8) : "the page was loaded";
    part.dataset.stale = `as of ${since}: ${error.message}`;
    return;
  }
  const box = document.createElement("p");
  box.className = "problem";
  box.setAttribute("role", "alert");
  const again = document.createElement("button");
  again.type = "button";
  again.className = "plain";
  again.textContent = "Try again";
  again.addEventListener("click", () => void load(part));
  box.append(`This part could not be loaded: ${error.message}. `, again);
  part.replaceChildren(box);
}

export function reload(selector = "[data-part]") {
  for (const part of document.querySelectorAll(selector)) {
    if (seen.has(part) && part.dataset.live !== "no") void load(part, true);
  }
}
