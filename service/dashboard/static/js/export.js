// A chart as a file, and the link that leads to it.

import {toast} from "./notices.js";

const quoted = (value) => {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export const csvOf = ({columns, rows}) => `${[columns, ...rows].map((row) => row.map(quoted).join(",")).join("\r\n")}\r\n`;

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const nameOf = (figure, ending) =>
  `${location.pathname.replace(/^\/|\/$/g, "").replaceAll("/", "-")}-${figure.id.replace(/^chart-/, "")}.${ending}`;

export const saveCSV = (figure, table) => save(nameOf(figure, "csv"), new Blob([csvOf(table)], {type: "text/csv"}));

// A drawing of its own, never put into the page: its style attributes would break the page's rules.
export function saveSVG(figure, option, {width, height}) {
  const chart = globalThis.echarts.init(null, null, {renderer: "svg", ssr: true, width, height});
  chart.setOption({...option, animation: false});
  save(nameOf(figure, "svg"), new Blob([chart.renderToSVGString()], {type: "image/svg+xml"}));
  chart.dispose();
}

export async function savePNG(figure, canvas) {
  const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  save(nameOf(figure, "png"), blob);
}

export async function copyLink(figure) {
  const link = `${location.origin}${location.pathname}${location.search}#${figure.id}`;
  try {
    await navigator.clipboard.writeText(link);
    toast("Copied");
  } catch {
    toast(`This browser does not let pages copy here; the link is ${link}`, "bad");
  }
}
