// A study file as YAML: mappings, lists and scalars, which is all that such a file holds.

const plain = /^[A-Za-z_][\w.+-]*$/;
const words = new Set(["true", "false", "null", "yes", "no", "on", "off"]);

const scalar = (value) => {
  if (typeof value === "string") return plain.test(value) && !words.has(value.toLowerCase()) ? value : JSON.stringify(value);
  return value === null ? "null" : String(value);
};
const isFlat = (value) => Array.isArray(value) ? value.every((entry) => typeof entry !== "object" || entry === null)
  : Object.values(value).every((entry) => typeof entry !== "object" || entry === null || (Array.isArray(entry) && isFlat(entry)));
const flow = (value) => {
  if (Array.isArray(value)) return `[${value.map(flow).join(", ")}]`;
  if (value && typeof value === "object") return `{${Object.entries(value).map(([key, entry]) => `${scalar(key)}: ${flow(entry)}`).join(", ")}}`;
  return scalar(value);
};

export function toYaml(document, indent = "") {
  return Object.entries(document).map(([key, value]) => {
    const head = `${indent}${scalar(key)}:`;
    if (value === null || typeof value !== "object") return `${head} ${scalar(value)}`;
    if (isFlat(value)) return `${head} ${flow(value)}`;
    if (Array.isArray(value)) return `${head}\n${value.map((entry) => `${indent}  - ${flow(entry)}`).join("\n")}`;
    return `${head}\n${toYaml(value, `${indent}  `)}`;
  }).join("\n");
}
