// What surrounds a drawing: heading, tools, a note when it is old, the table, the caption.

import {sig} from "./look.js";

const MOST_ROWS = 200;
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

export function build(figure, tools) {
  const title = make("h3", {id: `${figure.id}-title`, hidden: true});
  const buttons = tools.map(({name, act, isToggle}) => {
    const button = make("button", {type: "button", className: "plain", textContent: name, onclick: act});
    button.dataset.tool = name;
    if (isToggle) button.setAttribute("aria-expanded", "false");
    return button;
  });
  const bar = make("div", {className: "chart-tools", hidden: true}, ...buttons);
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-labelledby", title.id);
  const box = {
    title, bar, buttons,
    head: make("div", {className: "chart-head"}, title, bar),
    note: make("p", {className: "chart-note", hidden: true}),
    plot: make("div", {className: "plot"}),
    table: make("div", {className: "scroll chart-table", hidden: true, tabIndex: 0}),
    caption: make("figcaption"),
  };
  box.table.setAttribute("role", "region");
  figure.setAttribute("aria-labelledby", title.id);
  figure.replaceChildren(box.head, box.note, box.plot, box.table, box.caption);
  return box;
}

export function say(box, text, again = null) {
  box.note.hidden = !text;
  box.note.textContent = text;
  if (again) box.note.append(" ", make("button", {type: "button", className: "plain", textContent: "Try again", onclick: again}));
}

export function fillTable(box, {title, table}) {
  const shown = table.rows.slice(0, MOST_ROWS);
  const isNumber = table.columns.map((_, i) => shown.some((row) => typeof row[i] === "number"));
  const cell = (tag, text, i) => make(tag, {className: isNumber[i] ? "number" : "", textContent: text});
  const head = table.columns.map((name, i) => Object.assign(cell("th", name, i), {scope: "col"}));
  const body = shown.map((row) => make("tr", {}, ...row.map((value, i) => cell("td", sig(value), i))));
  const more = table.rows.length > shown.length ? `; the first ${MOST_ROWS} of ${table.rows.length} rows, all are in the CSV` : "";
  box.table.setAttribute("aria-label", `${title}, table`);
  box.table.replaceChildren(
    make("table", {}, make("caption", {textContent: `${title}${more}`}), make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body)),
  );
}
