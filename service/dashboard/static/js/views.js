// Forms and links that choose a view (form[data-view], a[data-view] in a part): the part is loaded again and the address
// says what is chosen, without loading the page. A control with data-submit sends its form when it changes; without
// scripts a button does. A link says in data-view which names of the address are its own.

import {load} from "./parts.js";

let shown = location.search;

function show(part, query, hash) {
  history.pushState(null, "", `${location.pathname}?${query}${hash}`);
  shown = location.search;
  part.dataset.part = `${part.dataset.part.split("?")[0]}?${query}`;
  void load(part);
}

function choose(form, part) {
  const query = new URLSearchParams(location.search);
  if (form.dataset.forget) for (const name of form.dataset.forget.split(" ")) query.delete(name);
  const given = new FormData(form);
  for (const name of new Set(given.keys())) {
    query.delete(name);
    for (const value of given.getAll(name)) if (value !== "") query.append(name, value);
  }
  show(part, query, new URL(form.action).hash);
}

export function install() {
  document.addEventListener("change", (event) => {
    const control = event.target.closest("[data-submit]");
    if (control?.form?.reportValidity()) control.form.requestSubmit();
  });
  document.addEventListener("submit", (event) => {
    const part = event.target.closest("[data-part]");
    if (event.target.dataset.view === undefined || !part) return;
    event.preventDefault();
    choose(event.target, part);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-view]");
    const part = link?.closest("[data-part]");
    if (!part || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const query = new URLSearchParams(location.search);
    for (const name of link.dataset.view.split(" ")) query.delete(name);
    for (const [name, value] of new URL(link.href).searchParams) query.append(name, value);
    show(part, query, link.hash);
  });
  addEventListener("popstate", () => { if (location.search !== shown) location.reload(); });
}
