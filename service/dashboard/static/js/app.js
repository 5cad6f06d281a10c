// Every page's script: theme, live parts, buttons.

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

actions.install();
views.install();
watch();
follow();
