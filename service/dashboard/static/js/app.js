// Every page's script: theme, search, live parts, buttons.

import * as actions from "./actions.js";
import {follow} from "./live.js";
import {watch} from "./parts.js";
import * as views from "./views.js";

const theme = document.getElementById("theme");
theme.value = document.documentElement.dataset.theme;
theme.addEventListener("change", () => {
  document.documentElement.dataset.theme = theme.value;
  try { localStorage.setItem("theme", theme.value); } catch { /* kept for this page only */ }
  document.dispatchEvent(new CustomEvent("theme"));
});

// "/" leads to the search, unless one is writing.
document.addEventListener("keydown", (event) => {
  const search = document.getElementById("search");
  const isWriting = event.target.closest?.("input, textarea, select, [contenteditable], dialog[open]");
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isWriting || !search) return;
  event.preventDefault();
  search.focus();
  search.select();
});

actions.install();
views.install();
watch();
follow();
