// Short notices, the banner of a page that no longer gets news, and the question before something is destroyed.

const byId = (id) => document.getElementById(id);
let hiding;

export function toast(text, kind = "") {
  const box = byId("toast");
  box.textContent = text;
  box.className = `toast shown ${kind}`;
  clearTimeout(hiding);
  hiding = setTimeout(() => box.classList.remove("shown"), kind === "bad" ? 12_000 : 5_000);
}

// While server or ledger are away the page is for reading only. Nothing is written where nothing has changed, so that
// a screen reader says it once.
export function away(text) {
  const box = byId("banner");
  if (box.textContent === text) return;
  box.textContent = text;
  box.hidden = !text;
  for (const button of document.querySelectorAll("button[data-action]")) button.disabled = Boolean(text);
}

export function confirmed({title, text, verb, word}) {
  const dialog = byId("confirm");
  const yes = byId("confirm-yes");
  const input = byId("confirm-input");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text ?? "";
  byId("confirm-typed").hidden = !word;
  byId("confirm-word").textContent = word ?? "";
  yes.textContent = verb ?? "Yes";
  input.value = "";
  const judge = () => { yes.disabled = Boolean(word) && input.value !== word; };
  input.oninput = judge;
  judge();
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" && !yes.disabled), {once: true});
  });
}
