// Writes dist/: all files of static/ in one folder that is named by their content, the chart library by its own,
// each beside its gzip and Brotli forms, and manifest.json, which says what is where.
import {createHash} from "node:crypto";
import {cpSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync} from "node:fs";
import {join, relative} from "node:path";
import {brotliCompressSync, constants, gzipSync} from "node:zlib";

const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
const sources = join(here, "static");
const dist = join(here, "dist");
const library = join(here, "node_modules/echarts");

const walk = (folder) =>
  readdirSync(folder).sort().flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? walk(path) : [path];
  });
const digest = (parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex").slice(0, 12);
};
const write = (path, content) => {
  writeFileSync(path, content);
  writeFileSync(`${path}.gz`, gzipSync(content, {level: 9}));
  writeFileSync(`${path}.br`, brotliCompressSync(content, {params: {[constants.BROTLI_PARAM_QUALITY]: 11}}));
};

rmSync(dist, {recursive: true, force: true});
const files = walk(sources);
const tree = digest(files.flatMap((path) => [relative(sources, path), readFileSync(path)]));
for (const path of files) {
  const target = join(dist, tree, relative(sources, path));
  mkdirSync(join(target, ".."), {recursive: true});
  write(target, readFileSync(path));
}
const chart = readFileSync(join(library, "dist/echarts.min.js"));
const echarts = `echarts.${digest([chart])}.js`;
write(join(dist, echarts), chart);
cpSync(join(library, "LICENSE"), join(dist, "echarts.LICENSE.txt"));
writeFileSync(join(dist, "manifest.json"), JSON.stringify({tree, echarts}));
