// What a reader has done to a part outlives its next version: what is open, typed, scrolled, and where the focus is.

const nameOf = (input) => `${input.id} ${input.name} ${["checkbox", "radio"].includes(input.type) ? input.value : ""}`;
const isChanged = (input) => {
  if (input.tagName === "SELECT") return [...input.options].some((option) => option.selected !== option.defaultSelected);
  return input.value !== input.defaultValue || input.checked !== input.defaultChecked;
};
const byName = (root, selector, name) => new Map([...root.querySelectorAll(selector)].map((found) => [name(found), found]));

function keepOpen(part, next) {
  const summary = (details) => details.querySelector("summary")?.textContent ?? "";
  const old = byName(part, "details", summary);
  for (const [name, details] of byName(next, "details", summary)) if (old.has(name)) details.open = old.get(name).open;
}

function keepTyped(part, next) {
  const inputs = "input:not([type=hidden]):not([type=range]), select, textarea";
  const fresh = byName(next, inputs, nameOf);
  for (const [name, input] of byName(part, inputs, nameOf)) {
    const heir = fresh.get(name);
    if (!heir || !isChanged(input)) continue;
    heir.value = input.value;
    if ("checked" in heir) heir.checked = input.checked;
  }
}

function keepScrolled(part, next) {
  const label = (region) => region.getAttribute("aria-label");
  const fresh = byName(next, "[role=region][aria-label]", label);
  const places = [...byName(part, "[role=region][aria-label]", label)].map(([name, {scrollLeft, scrollTop}]) => [fresh.get(name), scrollLeft, scrollTop]);
  return () => { for (const [region, left, top] of places) region?.scrollTo(left, top); };
}

// Where the focused element is gone, its part takes the focus, so that Tab goes on from there and not from the top.
function keepFocus(part) {
  const focused = document.activeElement;
  if (!part.contains(focused) || focused === part) return () => {};
  const {id, selectionStart = null, selectionEnd} = focused;
  return () => {
    if (focused.isConnected && document.activeElement === focused) return;
    const heir = focused.isConnected ? focused : id && document.getElementById(id);
    if (!heir) part.tabIndex = -1;
    (heir || part).focus({preventScroll: true});
    if (heir && selectionStart !== null) heir.setSelectionRange?.(selectionStart, selectionEnd);
  };
}

// Prepares `next`, which takes the place of what is in `part`; returns what is to be done once it is there. Where the
// reader has asked for the new version (`isNews` is false), it says what inputs hold.
export function keep(part, next, isNews) {
  keepOpen(part, next);
  if (isNews) keepTyped(part, next);
  const steps = [keepScrolled(part, next), keepFocus(part)];
  return () => { for (const step of steps) step(); };
}
