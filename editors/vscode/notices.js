// Writes dist/NOTICES.txt: the licences of what esbuild put into the bundle, from its metafile.

const fs = require("node:fs");
const path = require("node:path");

const { inputs } = JSON.parse(fs.readFileSync("dist/meta.json", "utf8"));
const folders = new Set(
  Object.keys(inputs).flatMap((file) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? []),
);

const notices = [...folders].sort().map((folder) => {
  const { name, version, license } = JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8"));
  const file = fs.readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
  if (file === undefined) {
    throw new Error(`${name} comes without its licence`);
  }
  return `${name} ${version} (${license})\n\n${fs.readFileSync(path.join(folder, file), "utf8").trim()}\n`;
});

fs.writeFileSync("dist/NOTICES.txt", notices.join(`\n${"-".repeat(80)}\n\n`));
fs.rmSync("dist/meta.json");
