// Looks of charts: colours from the style sheet, numbers and ticks as people read them.

export const MARKS = {
  circle: "●", rect: "■", triangle: "▲", diamond: "◆", pin: "▼", arrow: "▶", roundRect: "▬",
  emptyCircle: "○", emptyRect: "□", emptyTriangle: "△", emptyDiamond: "◇",
};
export const SMALL = 12;
const N_TICKS = {wide: 7, narrow: 5};

export function looks() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ground", "panel", "ink", "muted", "line", "strong", "link"];
  const look = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  look.font = getComputedStyle(document.body).fontFamily;
  look.isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  return look;
}

// Four significant digits, as the pages' own filter `sig` writes them.
export function sig(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (size && (size < 1e-4 || size >= 1e6)) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    return `${Number(mantissa)}e${Number(exponent)}`;
  }
  const places = size ? Math.max(0, digits - 1 - Math.floor(Math.log10(size))) : 0;
  return value.toLocaleString("en", {maximumFractionDigits: Math.min(places, 20)});
}

let pen = null;
export function textWidth(text, look, size = SMALL) {
  pen ??= document.createElement("canvas").getContext("2d");
  pen.font = `${size}px ${look.font}`;
  return Math.max(...String(text).split("\n").map((line) => pen.measureText(line).width));
}

// The finest round step that gives at most `most` ticks.
function linearTicks(low, high, most) {
  const power = 10 ** Math.floor(Math.log10((high - low) / Math.max(1, most)));
  for (const step of [1, 2, 2.5, 5, 10, 20].map((k) => k * power)) {
    const first = Math.ceil(low / step - 1e-9);
    const n = Math.floor(high / step + 1e-9) - first + 1;
    if (n <= most) return Array.from({length: Math.max(0, n)}, (_, i) => Number(((first + i) * step).toPrecision(12)));
  }
  return [];
}

function logTicks(low, high, most) {
  if (high / low < 4) return linearTicks(low, high, most);
  const ladder = (steps, every = 1) => {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      if (power % every === 0) found.push(...steps.map((k) => Number((k * 10 ** power).toPrecision(3))));
    }
    return found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  };
  const offers = [ladder([1, 2, 5]), ladder([1, 3]), ladder([1]), ladder([1], 2), ladder([1], 3)];
  return offers.find((ticks) => ticks.length <= most) ?? offers.at(-1);
}

// An axis over all its values. A logarithmic one is drawn as a plain one of logarithms, for a range that is not widened
// to powers of ten: `to` leads from a value to its place, `from` back.
export function scaleOf(axis, values, {isNarrow = false, pad = 0.04} = {}) {
  const finite = values.filter((value) => Number.isFinite(value));
  const isLog = axis.scale === "log" && finite.length > 0 && finite.every((value) => value > 0);
  const to = isLog ? Math.log10 : (value) => value;
  const from = isLog ? (place) => 10 ** place : (place) => place;
  let low = to(finite.reduce((a, b) => Math.min(a, b), Infinity));
  let high = to(finite.reduce((a, b) => Math.max(a, b), -Infinity));
  const room = high > low ? pad * (high - low) : isLog ? 0.05 : Math.abs(high) * 0.05 || 1;
  [low, high] = [low - room, high + room];
  const isGiven = (end) => Number.isFinite(end) && (!isLog || end > 0);
  if (isGiven(axis.min)) low = to(axis.min);
  if (isGiven(axis.max) && to(axis.max) > low) high = to(axis.max);
  const most = isNarrow ? N_TICKS.narrow : N_TICKS.wide;
  const all = (isLog ? logTicks : linearTicks)(from(low), from(high), most);
  const ticks = axis.whole ? all.filter(Number.isInteger) : all;
  return {isLog, to, from, min: low, max: high, ticks, name: axis.name};
}

export function axisOption(scale, look) {
  const customValues = scale.ticks.map(scale.to);
  return {
    type: "value", min: scale.min, max: scale.max, name: scale.name,
    nameTextStyle: {color: look.muted, fontSize: SMALL},
    axisLabel: {color: look.muted, fontSize: SMALL, customValues, hideOverlap: true, formatter: (place) => sig(scale.from(place))},
    axisTick: {show: true, customValues, lineStyle: {color: look.strong}},
    axisLine: {show: true, onZero: false, lineStyle: {color: look.strong}},
    splitLine: {show: true, customValues, lineStyle: {color: look.line}},
  };
}

export const labelRoom = (scale, look) => Math.max(24, ...scale.ticks.map((value) => textWidth(sig(value), look))) + 14;

// What every chart has: a description for screen readers, patterns beside colours, tooltips that are drawn, not HTML.
export function frame(data, look) {
  return {
    animation: !look.isStill, animationDuration: 250, animationDurationUpdate: 250,
    backgroundColor: look.ground,
    textStyle: {fontFamily: look.font, color: look.ink},
    aria: {enabled: true, label: {description: `${data.title}. ${data.caption} The same numbers are in the table.`}, decal: {show: true}},
    tooltip: tooltip(look),
  };
}

export function tooltip(look) {
  return {
    renderMode: "richText", confine: true, backgroundColor: look.panel, borderColor: look.strong,
    textStyle: {color: look.ink, fontSize: SMALL}, transitionDuration: 0,
  };
}

export const between = (low, high, unit = "", digits = 4) =>
  [low, high].every(Number.isFinite) ? ` (${sig(low, digits)} to ${sig(high, digits)}${unit})` : "";

export function legend(series, look) {
  return {
    top: 0, left: 0, itemWidth: 26, itemHeight: 10, textStyle: {color: look.ink, fontSize: SMALL}, inactiveColor: look.muted,
    data: series.map((entry) => ({name: entry.label})),
  };
}
