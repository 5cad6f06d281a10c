// Forms that choose a view (form[data-view] in a part): the part is loaded again and the address says what is chosen,
// without loading the page. A control with data-submit sends its form when it changes; without scripts a button does.

import {load} from "./parts.js";

function choose(form, part) {
  const query = new URLSearchParams(location.search);
  if (form.dataset.forget) query.delete(form.dataset.forget);
  for (const [name, value] of new FormData(form)) {
    if (value === "") query.delete(name);
    else query.set(name, value);
  }
  history.replaceState(null, "", `${location.pathname}?${query}${new URL(form.action).hash}`);
  part.dataset.part = `${part.dataset.part.split("?")[0]}?${query}`;
  void load(part);
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
}
