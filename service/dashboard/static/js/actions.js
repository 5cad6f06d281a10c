// Buttons that act: <button data-action="URL" data-method="POST" data-body='{…}' data-confirm="Question" …>.
// The effect is shown without a reload of the page: its parts are loaded again.

import {request} from "./http.js";
import {confirmed, toast} from "./notices.js";
import {reload} from "./parts.js";

async function act(button) {
  const {action, method = "POST", body, confirm, confirmText, word, verb, then, done, wordParameter} = button.dataset;
  if (button.ariaDisabled === "true") return;
  const isMeant = !confirm || (await confirmed({title: confirm, text: confirmText, verb, word}));
  if (!isMeant) return;
  button.ariaDisabled = "true";  // a disabled button would lose the focus
  try {
    const url = wordParameter ? `${action}?${wordParameter}=${encodeURIComponent(word)}` : action;
    const response = await request(url, {method, body});
    if (then) {
      const answer = then.includes("{id}") ? await response.json() : {};
      location.assign(then.replace("{id}", answer.id));
      return;
    }
    toast(done ?? "Done");
    reload();
  } catch (error) {
    toast(error.message, "bad");
    if (error.status === 409) reload();  // the page is behind: it shows what is so now
  } finally {
    button.ariaDisabled = null;
  }
}

async function copy(button) {
  const source = button.dataset.copyFrom ? document.getElementById(button.dataset.copyFrom).textContent : null;
  const text = source ?? (button.dataset.copy || location.href);
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied");
  } catch {
    toast("This browser does not let pages copy here; select the text and copy it", "bad");
  }
}

export function install() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.action !== undefined) void act(button);
    else if (button?.dataset.copy !== undefined || button?.dataset.copyFrom) void copy(button);
  });
}
