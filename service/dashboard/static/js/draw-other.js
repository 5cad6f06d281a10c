// Intervals, bars and parallel coordinates.

import {axisOption, between, frame, legend, MARKS, scaleOf, sig, SMALL, textWidth, tooltip} from "./look.js";

const ROW_PX = {wide: 46, narrow: 62};
const LINE_PX = 16;
const MANY_LINES = 60;

export const isEmptyIntervals = (data) => !data.series.some((entry) => Number.isFinite(entry.interval[0]));

// One row for each pair: its name and numbers above, the estimate with its interval below.
export function drawIntervals(data, look, width) {
  const rows = data.series.filter((entry) => Number.isFinite(entry.interval[0]));
  const marks = data.marks.map((mark) => mark.at);
  const isNarrow = width < 480;
  const x = scaleOf(data.x, [...rows.flatMap((entry) => entry.interval), ...(data.zone ?? []), ...marks].filter(Number.isFinite), {isNarrow});
  const label = (entry) => `${entry.label}${isNarrow ? "\n" : ": "}${sig(entry.interval[0], 3)} %${between(entry.interval[1], entry.interval[2], " %", 3)}`;
  return {
    height: rows.length * (isNarrow ? ROW_PX.narrow : ROW_PX.wide) + 70,
    option: {
      ...frame(data, look),
      grid: {left: 16, right: 16, top: 12, bottom: 46},
      xAxis: {...axisOption(x, look), nameLocation: "middle", nameGap: 28},
      yAxis: {type: "value", min: 0, max: rows.length, inverse: true, show: false},
      tooltip: {...tooltip(look), trigger: "item", formatter: ({dataIndex}) => label(rows[dataIndex]).replace(": ", "\n")},
      series: [{
        type: "custom", z: 3, data: rows.map((entry, i) => [entry.interval[0], i]), encode: {x: 0, y: 1}, clip: false,
        renderItem: (params, api) => interval(rows[params.dataIndex], params, api, look, label),
        markArea: data.zone && {silent: true, animation: false, itemStyle: {color: look.line, opacity: 0.6}, data: [[{xAxis: data.zone[0]}, {xAxis: data.zone[1]}]]},
        markLine: {
          z: 1, silent: true, symbol: "none", animation: false, lineStyle: {color: look.ink, type: "dashed", width: 1},
          label: {show: false}, data: marks.map((at) => ({xAxis: at})),
        },
      }],
    },
  };
}

function interval(entry, params, api, look, label) {
  const [middle, low, high] = entry.interval.map((at) => api.coord([at ?? entry.interval[0], params.dataIndex + 0.78])[0]);
  const y = api.coord([0, params.dataIndex + 0.78])[1];
  const text = label(entry);
  const above = 18 + (text.split("\n").length * LINE_PX) / 2;
  const stroke = {stroke: entry.colour, lineWidth: 3, fill: null};
  const bar = (x1, y1, x2, y2) => ({type: "line", shape: {x1, y1, x2, y2}, style: stroke});
  return {
    type: "group",
    children: [
      bar(low, y, high, y), bar(low, y - 6, low, y + 6), bar(high, y - 6, high, y + 6),
      {type: "text", style: {text: MARKS[entry.marker] ?? "●", x: middle, y, fill: entry.colour, stroke: look.ground, lineWidth: 3, font: `18px ${look.font}`, align: "center", verticalAlign: "middle"}},
      {type: "text", style: {text, x: params.coordSys.x, y: y - above, lineHeight: LINE_PX, fill: look.ink, stroke: look.ground, lineWidth: 3, font: `${SMALL}px ${look.font}`, width: params.coordSys.width, overflow: "truncate", verticalAlign: "middle"}},
    ],
  };
}

export const isEmptyBars = (data) => !data.series.length || !data.x.names.length;

// Horizontal, so that names and values stand beside their bars at any width.
export function drawBars(data, look) {
  const room = Math.max(...data.x.names.map((name) => textWidth(name, look))) + 16;
  const x = scaleOf({...data.y, min: 0}, [0, ...data.series.flatMap((entry) => entry.values)], {isNarrow: true, pad: 0});
  const right = Math.max(...data.series.map((entry) => textWidth(entry.label, look))) + 60;
  return {
    height: data.x.names.length * (data.series.length * 20 + 14) + 60,
    option: {
      ...frame(data, look),
      grid: {left: room, right, top: 8, bottom: 46},
      xAxis: {...axisOption(x, look), nameLocation: "middle", nameGap: 28},
      yAxis: {
        type: "category", data: data.x.names, inverse: true, axisTick: {show: false},
        axisLine: {lineStyle: {color: look.strong}}, axisLabel: {color: look.ink, fontSize: SMALL, interval: 0},
      },
      tooltip: {...tooltip(look), trigger: "item", formatter: ({seriesName, name, value}) => `${seriesName}\n${name}  ${sig(value)}`},
      series: data.series.map((entry) => ({
        name: entry.label, type: "bar", data: entry.values, barGap: "15%", barCategoryGap: "22%", itemStyle: {color: entry.colour},
        label: {show: true, position: "right", color: look.ink, fontSize: SMALL, textBorderWidth: 0, formatter: ({value}) => (Number.isFinite(value) ? `${entry.label} ${sig(value, 2)}` : "")},
      })),
    },
  };
}

export const isEmptyParallel = (data) => !data.series.some((entry) => entry.lines.length);

export function drawParallel(data, look, width) {
  const isNarrow = width < 480;
  const lines = data.series.flatMap((entry) => entry.lines);
  const scales = data.axes.map((axis, i) => scaleOf(axis, lines.map((line) => line[i]).filter(Number.isFinite), {isNarrow: true}));
  const option = {
    ...frame(data, look),
    legend: legend(data.series, look),
    parallel: isNarrow
      ? {layout: "vertical", left: 24, right: 28, top: 76, bottom: 36}
      : {left: 40, right: 60, top: 64, bottom: 24},
    parallelAxis: scales.map((scale, dim) => parallelAxis(scale, dim, look, isNarrow)),
    tooltip: {...tooltip(look), trigger: "item", formatter: ({seriesName, data: line}) => [seriesName, ...scales.map((scale, i) => `${scale.name}  ${line.value[i] === "-" ? "–" : sig(scale.from(line.value[i]))}`)].join("\n")},
    series: data.series.map((entry) => ({
      name: entry.label, type: "parallel", smooth: false, inactiveOpacity: 0.04, activeOpacity: 0.9, itemStyle: {color: entry.colour},
      lineStyle: {color: entry.colour, width: 1.5, opacity: lines.length > MANY_LINES ? 0.3 : 0.65, type: entry.dash},
      data: entry.lines.map((line) => ({value: line.map((value, i) => (Number.isFinite(value) ? scales[i].to(value) : "-"))})),
    })),
  };
  return {option, height: isNarrow ? scales.length * 72 + 120 : 380};
}

function parallelAxis(scale, dim, look, isNarrow) {
  const halo = {textBorderColor: look.ground, textBorderWidth: 3};
  const {axisLabel, axisTick, axisLine} = axisOption(scale, look);
  return {
    dim, name: scale.name, type: "value", min: scale.min, max: scale.max, axisLabel: {...axisLabel, ...halo, showMinLabel: true, showMaxLabel: true}, axisTick, axisLine,
    splitLine: {show: false}, nameLocation: isNarrow ? "start" : "end", nameGap: isNarrow ? 8 : 12,
    nameTextStyle: {color: look.ink, fontSize: SMALL, ...halo, ...(isNarrow ? {align: "left", verticalAlign: "bottom", padding: [0, 0, 14, 0]} : {})},
    areaSelectStyle: {borderColor: look.link, color: look.link, opacity: 0.25},
  };
}
