// A slider of budget: one line through all its charts, and what they say there, in words.

import {between, sig} from "./look.js";

const budgetsOf = (data) => [...new Set(data.series.flatMap((entry) => entry.points.map(([x]) => x)))].sort((a, b) => a - b);
const reached = (points, at) => points.filter(([x]) => x <= at).at(-1);

function wordsAt(data, at) {
  const isShare = data.y.name.endsWith("%");
  return data.series.flatMap((entry) => {
    const point = reached(entry.points, at);
    if (!point) return [];
    const [, low, high] = (entry.band ?? []).find(([x]) => x === point[0]) ?? [];
    return [`${entry.label} ${sig(point[1], 3)}${isShare ? " %" : ""}${between(low, high, isShare ? " %" : "", 3)}`];
  });
}

export function installSlider(chartOf) {
  const read = () => {
    const box = document.querySelector("[data-slider]");
    const [first, ...others] = (box?.dataset.slider.split(" ") ?? []).map(chartOf);
    return {box, charts: first?.data ? [first, ...others.filter((chart) => chart?.data)] : []};
  };
  const show = () => {
    const {box, charts} = read();
    const input = box?.querySelector("input");
    if (!charts.length) return;
    const budgets = budgetsOf(charts[0].data);
    const at = budgets[Math.min(Number(input.value), budgets.length - 1)];
    for (const chart of charts) chart.point(at);
    input.setAttribute("aria-valuetext", `${sig(at)} ${charts[0].data.x.name}`);
    box.querySelector("output").textContent = `${sig(at)} ${charts[0].data.x.name}`;
    const said = charts.map((chart) => wordsAt(chart.data, at).join(", ")).filter(Boolean);
    document.getElementById(box.dataset.words).textContent = said.length ? `${said.join("; ")}.` : "Nothing is known at this budget.";
  };
  const arrive = ({detail: chart}) => {
    const {box, charts} = read();
    if (!box || !charts.includes(chart)) return;
    const budgets = budgetsOf(charts[0].data);
    box.hidden = budgets.length < 2;
    if (box.hidden) return;
    const input = box.querySelector("input");
    input.max = String(budgets.length - 1);
    if (box.dataset.set === undefined) {
      const wanted = Number(new URLSearchParams(location.search).get("at") ?? budgets.at(-1));
      input.value = String(Math.max(0, budgets.findLastIndex((x) => x <= wanted)));
      if (charts[0] === chart) box.dataset.set = "";
    }
    show();
  };
  document.addEventListener("drawn", arrive);
  document.addEventListener("part", () => { for (const chart of read().charts) arrive({detail: chart}); });
  document.addEventListener("input", (event) => { if (event.target.closest("[data-slider]")) show(); });
  document.addEventListener("change", (event) => {
    const box = event.target.closest("[data-slider]");
    if (!box) return;
    const query = new URLSearchParams(location.search);
    query.set("at", String(budgetsOf(read().charts[0].data)[Number(event.target.value)]));
    history.replaceState(null, "", `${location.pathname}?${query}${location.hash}`);
  });
}
