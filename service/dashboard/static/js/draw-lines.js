// Lines with bands: a colour, dash and marker for each arm, its name at the line's end.

import {axisOption, between, frame, labelRoom, legend, MARKS, scaleOf, sig, SMALL, textWidth, tooltip} from "./look.js";

const N_MARKERS = 8;
const NARROW = 480;

export const isEmptyLines = (data) => !data.series.some((entry) => entry.points.length);

export function drawLines(data, look, width, cursor) {
  const isNarrow = width < NARROW;
  const drawn = data.series.filter((entry) => entry.points.length);
  const [x, y] = scales(data, drawn, isNarrow);
  const room = endRoom(drawn, look, width);
  const option = {
    ...frame(data, look),
    grid: {left: labelRoom(y, look), right: room || 14, top: room ? 30 : 34 + legendRoom(drawn, look, width), bottom: 46},
    xAxis: {...axisOption(x, look), nameLocation: "middle", nameGap: 28},
    yAxis: {...axisOption(y, look), nameLocation: "end", nameGap: 10, nameTextStyle: {color: look.muted, fontSize: SMALL, align: "left", padding: [0, 0, 0, 8 - labelRoom(y, look)]}},
    tooltip: {...tooltip(look), trigger: "axis", axisPointer: {type: "line", lineStyle: {color: look.strong}, label: {show: false}}, formatter: (hit) => words(data, x.from([hit].flat()[0].axisValue))},
    series: [
      ...drawn.flatMap((entry, i) => [band(entry, i, x, y), raw(entry, i, x, y), line(entry, i, x, y, look, room)].filter(Boolean)),
      guides(data, look, x, y, cursor),
    ],
  };
  if (!room) option.legend = legend(drawn, look);
  return {option, guides: (at) => guides(data, look, x, y, at)};
}

function scales(data, drawn, isNarrow) {
  const shown = drawn.flatMap((entry) => [...entry.points, ...(entry.raw ?? [])]);
  const bands = drawn.flatMap((entry) => entry.band ?? []);
  const marks = (data.marks ?? []).filter((mark) => mark.axis === "y").map((mark) => mark.at);
  const values = [...shown.map((point) => point[1]), ...bands.flatMap(([, low, high]) => [low, high]), ...marks];
  return [
    scaleOf(data.x, shown.map((point) => point[0]), {isNarrow, pad: 0}),
    scaleOf(data.y, values),
  ];
}

const endName = (entry) => entry.label.replace(" against ", "\nagainst ");

// Room for names at line ends, in px; 0 where they would leave too little for the lines.
function endRoom(drawn, look, width) {
  const room = Math.max(0, ...drawn.map((entry) => textWidth(endName(entry), look))) + 30;
  return drawn.length <= 8 && room <= width * 0.34 ? room : 0;
}

function legendRoom(drawn, look, width) {
  const length = drawn.reduce((sum, entry) => sum + textWidth(entry.label, look) + 46, 0);
  return 20 * Math.ceil(length / width);
}

const place = (x, y) => ([px, py]) => (y.isLog && py <= 0 ? [x.to(px), null] : [x.to(px), y.to(py)]);

function line(entry, i, x, y, look, room) {
  const every = Math.max(1, Math.ceil(entry.points.length / N_MARKERS));
  const offset = Math.floor((i * every) / 4) % every;
  return {
    id: `line-${i}`, name: entry.label, type: "line", z: 3, data: entry.points.map(place(x, y)), clip: true,
    symbol: entry.marker, showSymbol: true, showAllSymbol: true,
    symbolSize: (_, {dataIndex}) => (dataIndex % every === offset ? 8 : 0),
    lineStyle: {color: entry.colour, width: 2, type: entry.dash}, itemStyle: {color: entry.colour},
    emphasis: {focus: "none", lineStyle: {width: 3}},
    endLabel: {
      show: room > 0, distance: 8, color: look.ink, fontSize: SMALL, lineHeight: 14, textBorderWidth: 0,
      formatter: () => `{mark|${MARKS[entry.marker] ?? "●"}} ${endName(entry)}`, rich: {mark: {color: entry.colour}},
    },
    labelLayout: {moveOverlap: "shiftY"},
  };
}

function raw(entry, i, x, y) {
  if (!entry.raw) return null;
  return {
    id: `raw-${i}`, name: entry.label, type: "line", z: 2, data: entry.raw.map(place(x, y)), silent: true, showSymbol: false, clip: true,
    lineStyle: {color: entry.colour, width: 1.5, type: entry.dash, opacity: 0.35}, itemStyle: {color: entry.colour},
  };
}

// One polygon for the whole band: stacked areas would add logarithms.
function band(entry, i, x, y) {
  const ends = (entry.band ?? []).filter(([, low, high]) => !y.isLog || (low > 0 && high > 0));
  if (ends.length < 2) return null;
  const renderItem = (params, api) => {
    if (params.dataIndex !== 0) return null;
    const lower = ends.map(([at, low]) => api.coord([x.to(at), y.to(low)]));
    const upper = ends.map(([at, , high]) => api.coord([x.to(at), y.to(high)]));
    return {type: "polygon", silent: true, shape: {points: [...lower, ...upper.reverse()]}, style: {fill: entry.colour, opacity: 0.14}};
  };
  return {
    id: `band-${i}`, name: entry.label, type: "custom", z: 1, silent: true, clip: true, renderItem, itemStyle: {color: entry.colour},
    data: ends.map(([at, low, high]) => [x.to(at), y.to(low), y.to(high)]), encode: {x: 0, y: [1, 2]}, tooltip: {show: false},
  };
}

function guides(data, look, x, y, cursor) {
  const marks = (data.marks ?? []).map((mark) => ({
    [`${mark.axis}Axis`]: (mark.axis === "x" ? x : y).to(mark.at), name: mark.label,
    label: {formatter: mark.label, position: "insideStartTop"},
  }));
  const at = Number.isFinite(cursor) && x.to(cursor) >= x.min && x.to(cursor) <= x.max
    ? [{xAxis: x.to(cursor), name: "budget", label: {show: false}, lineStyle: {type: "solid", width: 2}}] : [];
  return {
    id: "guides", type: "line", data: [], silent: true, tooltip: {show: false},
    markLine: {
      silent: true, symbol: "none", animation: false, data: [...marks, ...at],
      lineStyle: {color: look.ink, type: "dashed", width: 1}, label: {color: look.muted, fontSize: SMALL},
    },
  };
}

const nearest = (points, at) =>
  points.reduce((best, point) => (!best || Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best), null);

// What all lines say near a place of the x axis, one line for each.
function words(data, at) {
  const found = data.series.filter((entry) => entry.points.length).map((entry) => {
    const point = nearest(entry.points, at);
    const [, low, high] = (entry.band ?? []).find(([px]) => px === point[0]) ?? [];
    return {entry, point, text: `${MARKS[entry.marker] ?? ""} ${entry.label}  ${sig(point[1])}${between(low, high)}`};
  });
  const head = found.length ? sig(nearest(found.map(({point}) => point), at)[0]) : "";
  return [`${data.x.name} ${head}`, ...found.map(({text}) => text)].join("\n");
}
