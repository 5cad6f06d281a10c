// Charts: every figure[data-chart], drawn from its JSON when it comes into view, drawn again with news, theme and width.
// Without the library, or when a load fails, its table or what it showed before stays, and a sentence says so.

import {build, fillTable, say} from "./chart-frame.js";
import {drawHeat, isEmptyHeat} from "./draw-heat.js";
import {drawLines, isEmptyLines} from "./draw-lines.js";
import {drawBars, drawIntervals, drawParallel, isEmptyBars, isEmptyIntervals, isEmptyParallel} from "./draw-other.js";
import {copyLink, saveCSV, savePNG, saveSVG} from "./export.js";
import {getJSON} from "./http.js";
import {looks} from "./look.js";
import {loadAll} from "./parts.js";
import {installSlider} from "./slider.js";

const KINDS = {
  lines: [drawLines, isEmptyLines], heat: [drawHeat, isEmptyHeat], intervals: [drawIntervals, isEmptyIntervals],
  bars: [drawBars, isEmptyBars], parallel: [drawParallel, isEmptyParallel],
};
const SLOW_MS = 300;
const REST = 10;  // a chart is loaded anew after ten times what its last load took, so that a large study is not read all the time
const charts = new Map();

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.data = this.drawing = this.instance = this.at = null;
    this.width = this.asked = this.waiting = this.restUntil = 0;
    this.box = build(figure, [
      {name: "Table", isToggle: true, act: () => this.toggle()},
      {name: "CSV", act: () => saveCSV(figure, this.data.table)},
      {name: "SVG", act: () => saveSVG(figure, this.drawing.option, this.size())},
      {name: "PNG", act: () => void savePNG(figure, this.canvas())},
      {name: "Copy link", act: () => void copyLink(figure)},
    ]);
    figure.addEventListener("refresh", () => this.refresh());
  }

  refresh() {
    if (!this.data || this.waiting) return;
    const rest = this.restUntil - performance.now();
    this.waiting = setTimeout(() => { this.waiting = 0; if (this.figure.isConnected) void this.load(); }, Math.max(0, rest));
  }

  async load() {
    const asked = ++this.asked;
    const began = performance.now();
    const slow = setTimeout(() => this.figure.setAttribute("aria-busy", "true"), SLOW_MS);
    try {
      const data = await getJSON(this.figure.dataset.chart);
      if (asked !== this.asked) return;
      this.data = data;
      this.loadedAt = new Date();
      say(this.box, "");
      this.show();
    } catch (error) {
      if (asked === this.asked) this.keep(error);
    } finally {
      clearTimeout(slow);
      this.restUntil = performance.now() + REST * (performance.now() - began);
      if (asked === this.asked) this.figure.removeAttribute("aria-busy");
    }
  }

  keep(error) {
    if (this.data) { say(this.box, `as of ${this.loadedAt.toTimeString().slice(0, 8)}: ${error.message}`); return; }
    say(this.box, `This chart could not be loaded: ${error.message}.`, () => void this.load());
    this.box.plot.hidden = true;
  }

  show() {
    const {title, caption, bar, table, plot} = this.box;
    title.textContent = this.data.title;
    title.hidden = false;
    caption.textContent = this.data.caption;
    bar.hidden = false;
    if (!table.hidden) fillTable(this.box, this.data);
    const isEmpty = KINDS[this.data.kind][1](this.data);
    const hasLibrary = Boolean(globalThis.echarts);
    plot.hidden = isEmpty || !hasLibrary;
    for (const button of this.box.buttons) button.hidden = plot.hidden && button.dataset.tool !== "Copy link" && (isEmpty || ["SVG", "PNG"].includes(button.dataset.tool));
    if (isEmpty) say(this.box, this.data.empty ?? "There is nothing to draw: no finished trials.");
    else if (!hasLibrary) { say(this.box, "The chart library did not load; here are the chart's numbers."); if (table.hidden) this.toggle(); }
    else this.draw();
    this.figure.dataset.drawn = isEmpty ? "empty" : hasLibrary ? "yes" : "table";
    this.figure.dispatchEvent(new CustomEvent("drawn", {bubbles: true, detail: this}));
  }

  draw() {
    const {plot} = this.box;
    this.width = plot.clientWidth;
    this.drawing = KINDS[this.data.kind][0](this.data, looks(), this.width, this.at);
    plot.style.height = this.drawing.height ? `${this.drawing.height}px` : "";
    this.instance ??= this.start(plot);
    this.instance.resize();
    this.instance.setOption(this.drawing.option, {notMerge: true});
  }

  start(plot) {
    new ResizeObserver(() => { if (this.drawing && plot.clientWidth && plot.clientWidth !== this.width) this.draw(); }).observe(plot);
    return globalThis.echarts.init(plot);
  }

  point(at) {
    this.at = at;
    if (this.instance && this.drawing.guides) this.instance.setOption({series: [this.drawing.guides(at)]});
  }

  toggle() {
    const {table, buttons} = this.box;
    table.hidden = !table.hidden;
    buttons[0].setAttribute("aria-expanded", String(!table.hidden));
    if (table.hidden) table.replaceChildren();
    else fillTable(this.box, this.data);
  }

  size() { return {width: this.instance.getWidth(), height: this.instance.getHeight()}; }
  canvas() { return this.instance.renderToCanvas({pixelRatio: 2, backgroundColor: looks().ground}); }
  redraw() { if (this.drawing && !this.box.plot.hidden) this.draw(); }
}

const observer = new IntersectionObserver((entries) => {
  for (const {target, isIntersecting} of entries) {
    if (isIntersecting) { observer.unobserve(target); void charts.get(target)?.load(); }
  }
}, {rootMargin: "200px"});

function find(root) {
  for (const figure of root.querySelectorAll("figure[data-chart]")) {
    if (charts.has(figure)) continue;
    charts.set(figure, new Chart(figure));
    observer.observe(figure);
  }
  for (const [figure, chart] of charts) {
    if (figure.isConnected) continue;
    chart.instance?.dispose();
    observer.unobserve(figure);
    charts.delete(figure);
  }
}

// A copied link names a chart that stands in a part which is not there yet, or a section that the parts above push down.
function seek() {
  const id = location.hash.slice(1);
  if (!id) return;
  const go = () => document.getElementById(id)?.scrollIntoView();
  const stop = new AbortController();
  for (const name of ["part", "drawn"]) document.addEventListener(name, go, {signal: stop.signal});
  for (const name of ["wheel", "keydown", "pointerdown", "touchstart"]) addEventListener(name, () => stop.abort(), {once: true, signal: stop.signal, passive: true});
  if (!document.getElementById(id)) loadAll();
  go();
}

const redraw = () => { for (const chart of charts.values()) chart.redraw(); };
document.addEventListener("part", () => find(document));
document.addEventListener("theme", redraw);
for (const query of ["(prefers-color-scheme: dark)", "(prefers-reduced-motion: reduce)"]) matchMedia(query).addEventListener("change", redraw);
installSlider((id) => charts.get(document.getElementById(id)));
find(document);
seek();
