// The form for a study: it makes the study file, asks the API what it would cost, and submits it.
// What is wrong comes from the API, named by the file's fields, and is linked to the inputs; nothing typed is lost.

import {getJSON, Refused, request} from "./http.js";
import {toast} from "./notices.js";
import {toYaml} from "./study_file.js";

const WAIT_MS = 500;
const RANGES = ["lr", "weight_decay", "delta", "wd_ratio", "one_minus_beta1", "one_minus_momentum"];
const form = document.getElementById("study");
const arms = document.getElementById("arms");
const problems = document.getElementById("problems");
const cost = document.getElementById("cost");
const catalog = await getJSON("/api/v1/catalog");
const optimizers = new Map(catalog.optimizers.map((entry) => [entry.name, entry]));
const workloads = new Map(catalog.workloads.map((entry) => [entry.name, entry]));
let kept = {};        // what the form has no input for, taken over from a file
let asking = 0;
let waiting = null;

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const number = (text) => {
  const value = Number(text.trim().replace(",", "."));
  return text.trim() === "" || Number.isNaN(value) ? text.trim() : value;
};

// --- options of the workload
function showOptions(given = {}) {
  const workload = workloads.get(form.querySelector('[data-field="workload.name"]').value);
  const box = document.getElementById("options");
  box.replaceChildren(...(workload?.options ?? []).map((option) => {
    const id = `f-option-${option.name}`;
    const value = given[option.name] ?? "";
    const input = element("input", {id, value, placeholder: `${option.default ?? ""}`});
    input.dataset.option = option.name;
    input.dataset.field = `workload.options.${option.name}`;
    return element("div", {}, element("label", {htmlFor: id, textContent: option.name}), input);
  }));
}

// --- arms
const shown = (entry) => {
  if (entry === undefined) return "";
  if (entry === null || typeof entry !== "object") return String(entry);
  const [[scale, ends]] = Object.entries(entry);
  return scale === "log" ? ends.join(", ") : `${scale}: ${ends.join(", ")}`;
};
function read(text) {
  const match = /^(?:(log|uniform|int|choice)\s*:)?(.*)$/.exec(text.trim());
  const parts = match[2].split(/[,;]/).map((part) => part.trim()).filter(Boolean);
  const typed = (part) => ({true: true, false: false})[part] ?? number(part);
  if (!match[1] && parts.length === 1) return typed(parts[0]);
  return {[match[1] ?? "log"]: parts.map(typed)};
}

function rangesOf(box, search = {}) {
  const optimizer = optimizers.get(box.querySelector('[data-arm="optimizer"]').value);
  const known = optimizer.hyperparameters.map((entry) => entry.name);
  const names = [...RANGES.filter((name) => known.includes(name)), ...Object.keys(search).filter((name) => !RANGES.includes(name))];
  box.querySelector(".ranges").replaceChildren(...names.map((name) => {
    const id = `f-${box.dataset.key}-${name}`;
    const input = element("input", {id, value: shown(search[name]), placeholder: shown(optimizer.default_space[name]) || "default"});
    input.dataset.range = name;
    return element("div", {}, element("label", {htmlFor: id, textContent: name}), input);
  }));
}

let nextKey = 0;
function addArm({name, optimizer, search} = {}) {
  const box = document.getElementById("arm-template").content.firstElementChild.cloneNode(true);
  box.dataset.key = nextKey++;
  for (const input of box.querySelectorAll("[data-arm]")) {
    input.id = `f-${box.dataset.key}-${input.dataset.arm}`;
    input.previousElementSibling.htmlFor = input.id;
  }
  const select = box.querySelector('[data-arm="optimizer"]');
  if (optimizer && !optimizers.has(optimizer)) select.append(element("option", {value: optimizer, textContent: optimizer}));
  select.value = optimizer ?? "AdamW";
  box.querySelector('[data-arm="name"]').value = name ?? "";
  arms.append(box);
  if (optimizers.has(select.value)) rangesOf(box, search);
  number_();
  return box;
}
function number_() {
  [...arms.children].forEach((box, i) => {
    box.querySelector("legend").textContent = i ? `Arm ${i + 1}` : "Arm 1, the baseline";
    box.querySelector("[data-remove]").hidden = arms.children.length < 2;
    box.querySelector('[data-arm="name"]').dataset.field = `arms[${i}].name`;
    box.querySelector('[data-arm="optimizer"]').dataset.field = `arms[${i}].optimizer`;
    for (const input of box.querySelectorAll("[data-range]")) input.dataset.field = `arms[${i}].search.${input.dataset.range}`;
  });
}

// --- the file
function toDocument() {
  const document_ = structuredClone(kept);
  document_.schema = 1;
  for (const input of form.querySelectorAll("[data-field]")) {
    const path = input.dataset.field;
    if (path.startsWith("arms[") || input.dataset.option) continue;
    const keys = path.split(".");
    const last = keys.pop();
    const place = keys.reduce((at, key) => (at[key] ??= {}), document_);
    const text = input.value.trim();
    if (input.type === "checkbox") { if (input.checked || last in place) place[last] = input.checked; }
    else if (text !== "") place[last] = input.inputMode === "decimal" ? number(text) : text;
    else delete place[last];
  }
  document_.name ??= "";
  const options = {};
  for (const input of form.querySelectorAll("[data-option]")) if (input.value.trim() !== "") options[input.dataset.option] = number(input.value);
  if (Object.keys(options).length) document_.workload.options = options; else delete document_.workload.options;
  document_.arms = [...arms.children].map((box) => {
    const optimizer = box.querySelector('[data-arm="optimizer"]').value;
    const name = box.querySelector('[data-arm="name"]').value.trim() || optimizer.toLowerCase();
    const search = Object.fromEntries([...box.querySelectorAll("[data-range]")].filter((input) => input.value.trim() !== "").map((input) => [input.dataset.range, read(input.value)]));
    return {name, optimizer, ...(Object.keys(search).length ? {search} : {})};
  });
  return document_;
}

function fromDocument(given) {
  const rest = structuredClone(given);
  for (const input of form.querySelectorAll("[data-field]")) {
    const path = input.dataset.field;
    if (path.startsWith("arms[") || input.dataset.option) continue;
    const keys = path.split(".");
    const last = keys.pop();
    const place = keys.reduce((at, key) => at?.[key], rest);
    const value = place?.[last];
    if (input.type === "checkbox") input.checked = Boolean(value);
    else if (value !== undefined && value !== null) {
      if (input.tagName === "SELECT" && ![...input.options].some((option) => option.value === value)) input.append(element("option", {textContent: value}));
      input.value = value;
    }
  }
  showOptions(given.workload?.options);
  arms.replaceChildren();
  for (const arm of given.arms ?? []) addArm(arm);
  delete rest.arms;
  delete rest.schema;
  kept = JSON.parse(JSON.stringify(rest, (key, value) => (value === null ? undefined : value)));
}

// --- problems and cost
// By its help, where it has one, and by what is wrong with it.
function describe(input, id = "") {
  input.dataset.help ??= input.getAttribute("aria-describedby") ?? "";
  const ids = `${input.dataset.help} ${id}`.trim();
  if (ids) input.setAttribute("aria-describedby", ids); else input.removeAttribute("aria-describedby");
}
function showProblems(error) {
  for (const input of form.querySelectorAll("[aria-invalid]")) { input.removeAttribute("aria-invalid"); describe(input); }
  problems.hidden = !error;
  if (!error) return;
  const list = element("ul");
  for (const [i, {field, message}] of error.problems.entries()) {
    const input = [...form.querySelectorAll("[data-field]")].find((entry) => entry.dataset.field === field)
      ?? [...form.querySelectorAll("[data-field]")].find((entry) => field.startsWith(entry.dataset.field));
    const item = element("li", {id: `problem-${i}`});
    if (input) {
      input.setAttribute("aria-invalid", "true");
      describe(input, item.id);
      item.append(element("a", {href: `#${input.id}`, textContent: field}), `: ${message}`);
    } else item.append(`${field}: ${message}`);
    list.append(item);
  }
  problems.replaceChildren(element("p", {textContent: error.message}), list);
}

const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
function duration(s) {
  if (s < 90) return `${Math.max(1, Math.round(s))} s`;
  return s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toPrecision(2)} h`;
}
function showCost(answer) {
  const {cost: found, spec, warnings} = answer;
  const {top, seeds} = spec.select;
  const perCell = `${spec.search.trials} search + ${top * seeds} select + ${spec.confirm.seeds} confirm`;
  const slots = found.n_slots ? `about ${duration(found.wall_s)} on ${count(found.n_slots, "slot")}` : "no slot is online for it";
  const power = (found.power ?? []).map(({change, power: chance}) => `a change of ${Math.round(-100 * change)} % with probability ${chance.toFixed(2).replace(/^0/, "")}`);
  cost.replaceChildren(
    element("p", {className: "verdict", textContent: `${count(spec.arms.length, "arm")} × ${count(spec.replicates, "replicate")} × (${perCell}) = ${count(found.n_trainings, "training")}, ${slots}.`}),
    element("p", {textContent: power.length ? `It detects ${power.join(", ")}.` : ""}),
    element("p", {className: "muted small", textContent: found.basis ?? ""}),
    ...(warnings.length ? [element("h3", {textContent: "Mind"}), element("ul", {}, ...warnings.map((text) => element("li", {textContent: text})))] : []),
  );
}

async function ask() {
  const mine = ++asking;
  const document_ = toDocument();
  document_.name ||= "unnamed"; // its cost does not depend on its name
  try {
    const answer = await (await request("/api/v1/studies?validate_only=true", {method: "POST", body: document_})).json();
    if (mine === asking) { showCost(answer); showProblems(null); }
  } catch (error) {
    if (mine !== asking) return;
    if (!problems.hidden && error instanceof Refused) showProblems(error);
    const said = error instanceof Refused && error.problems.length ? error.problems.map(({field, message}) => `${field}: ${message}`).slice(0, 3).join("; ") : error.message;
    cost.replaceChildren(element("p", {className: "muted", textContent: `Not known yet: ${said}`}));
  }
}
const soon = () => { clearTimeout(waiting); waiting = setTimeout(ask, WAIT_MS); };

// --- events
form.addEventListener("input", soon);
form.addEventListener("change", (event) => {
  if (event.target.dataset.field === "workload.name") showOptions();
  if (event.target.dataset.arm === "optimizer") rangesOf(event.target.closest(".arm-form"));
  number_();
  soon();
});
document.getElementById("add-arm").addEventListener("click", () => { addArm().querySelector("input").focus(); soon(); });
arms.addEventListener("click", (event) => {
  const button = event.target.closest("[data-remove]");
  if (button) { button.closest(".arm-form").remove(); number_(); soon(); }
});
document.getElementById("to-file").addEventListener("click", () => { document.getElementById("file").value = `${toYaml(toDocument())}\n`; });
document.getElementById("from-file").addEventListener("click", async () => {
  const text = document.getElementById("file").value;
  const type = text.trimStart().startsWith("{") ? "application/json" : "application/yaml";
  try {
    const answer = await (await request("/api/v1/studies?validate_only=true", {method: "POST", body: text, headers: {"Content-Type": type}})).json();
    fromDocument(answer.spec);
    showCost(answer);
    showProblems(null);
    toast("The form is filled from the file");
  } catch (error) {
    showProblems(error instanceof Refused ? error : {message: error.message, problems: []});
    problems.focus();
  }
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = document.getElementById("submit");
  button.disabled = true;
  try {
    const url = form.dataset.parent ? `/api/v1/studies/${form.dataset.parent}/clone` : "/api/v1/studies";
    const headers = {"Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`};
    const answer = await (await request(url, {method: "POST", body: toDocument(), headers})).json();
    location.assign(`/studies/${answer.id}`);
  } catch (error) {
    showProblems(error instanceof Refused ? error : {message: error.message, problems: []});
    problems.focus();
    problems.scrollIntoView({block: "start"});
    button.disabled = false;
  }
});

if (form.dataset.parent) {
  const file = await getJSON(`/api/v1/studies/${form.dataset.parent}/file?format=json`);
  fromDocument({...file, name: `${file.name}-again`, seed: Number(form.dataset.seed) + 1});
} else {
  showOptions();
  addArm({name: "adamw", optimizer: "AdamW"});
  addArm({name: "adamp", optimizer: "AdamP"});
}
soon();
