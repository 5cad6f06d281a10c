// A field of values: viridis with the number and the count in each cell, thin cells hatched, the best one outlined.

import {frame, sig, SMALL, tooltip} from "./look.js";

// Samples of matplotlib's viridis (CC0).
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const MIN_TRIALS = 3;
const HATCH = {symbol: "rect", dashArrayX: [1, 0], dashArrayY: [1, 6], rotation: Math.PI / 4, symbolSize: 1};

export const isEmptyHeat = (data) => !data.cells.length;

export function drawHeat(data, look, width) {
  const [low, high] = data.scale.map(Math.log10);
  const isNarrow = width < 560;
  const shade = (value) => (high > low ? (Math.log10(value) - low) / (high - low) : 0.5);
  const axis = (given, more) => ({
    type: "category", data: given.names, name: given.name, splitLine: {show: false}, axisTick: {show: false},
    axisLine: {show: false}, axisLabel: {color: look.muted, fontSize: isNarrow ? 10 : 11, interval: 0},
    nameTextStyle: {color: look.muted, fontSize: SMALL}, ...more,
  });
  return {
    height: 440,
    option: {
      ...frame(data, look),
      aria: {...frame(data, look).aria, decal: {show: false}},  // hatching means few trials here, and numbers stand in every cell
      grid: {left: 48, right: 8, top: 30, bottom: 96},
      xAxis: axis(data.x, {nameLocation: "middle", nameGap: 26}),
      yAxis: axis(data.y, {nameLocation: "end", nameGap: 8, nameTextStyle: {color: look.muted, fontSize: SMALL, align: "left", padding: [0, 0, 0, -40]}}),
      tooltip: {...tooltip(look), trigger: "item", formatter: ({data: cell}) => describe(data, cell.cell)},
      visualMap: {
        type: "continuous", min: low, max: high > low ? high : low + 1e-9, dimension: 2, calculable: false, orient: "horizontal",
        left: "center", bottom: 4, itemWidth: 12, itemHeight: Math.min(220, width * 0.5), inRange: {color: VIRIDIS},
        text: [`${sig(data.scale[1], 3)}`, `${sig(data.scale[0], 3)} (best)`], textStyle: {color: look.muted, fontSize: SMALL},
      },
      series: [{
        type: "heatmap", data: lastlyBest(data).map((cell) => item(cell, data.best, look, shade, isNarrow)),
        emphasis: {itemStyle: {borderColor: look.ink, borderWidth: 2}},
      }],
    },
  };
}

// The best cell comes last, so that no neighbour covers its outline.
function lastlyBest({cells, best}) {
  const isBest = ([i, j]) => Boolean(best) && best[0] === i && best[1] === j;
  return [...cells.filter((cell) => !isBest(cell)), ...cells.filter(isBest)];
}

// The colour at a place between 0 and 1.
function viridis(at) {
  const place = Math.min(Math.max(at, 0), 1) * (VIRIDIS.length - 1);
  const [one, next] = [VIRIDIS[Math.floor(place)], VIRIDIS[Math.ceil(place)]].map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return `rgb(${one.map((value, i) => Math.round(value + (next[i] - value) * (place % 1))).join(", ")})`;
}

function item(cell, best, look, shade, isNarrow) {
  const [i, j, value, n] = cell;
  const isBest = Boolean(best) && best[0] === i && best[1] === j;
  const isBright = shade(value) > 0.44;
  const style = {borderColor: isBest ? look.ink : look.ground, borderWidth: isBest ? 4 : 1};
  if (n < MIN_TRIALS) style.decal = {...HATCH, color: isBright ? "rgba(0, 0, 0, 0.35)" : "rgba(255, 255, 255, 0.4)"};
  return {
    cell, value: [i, j, Math.log10(value)], itemStyle: style,
    label: {
      show: true, fontSize: isNarrow ? 9 : 11, lineHeight: isNarrow ? 11 : 13, fontWeight: isBest ? "bold" : "normal",
      color: isBright ? "#000000" : "#ffffff", textBorderWidth: 3, textBorderColor: viridis(shade(value)),
      formatter: () => `${sig(value, isNarrow ? 2 : 3)}\nn ${n}`,
    },
  };
}

function describe(data, [i, j, value, n]) {
  return `${data.x.name} ${data.x.names[i]}\n${data.y.name} ${data.y.names[j]}\nmedian ${sig(value)} of ${n} trial${n === 1 ? "" : "s"}`;
}
