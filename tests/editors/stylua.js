"use strict";
// StyLua from the npm registry over a folder of Lua files, as its stylua.toml says: names those that are not in style,
// or, with --write, puts them right. Usage: node stylua.js [--write] FOLDER…

const fs = require("node:fs");
const path = require("node:path");
const stylua = require("@johnnymorganz/stylua");

const KINDS = { indent_type: stylua.IndentType, quote_style: stylua.QuoteStyle };
const SETTINGS = path.join(__dirname, "..", "..", "editors", "nvim", "stylua.toml");

/** The settings: `name = value`, each on a line. */
function config() {
  const made = stylua.Config.new();
  made.syntax = stylua.LuaVersion.LuaJIT;
  for (const [, name, value] of fs.readFileSync(SETTINGS, "utf8").matchAll(/^(\w+) = "?(\w+)"?$/gm)) {
    made[name] = name in KINDS ? KINDS[name][value] : Number(value);
    if (made[name] === undefined || Number.isNaN(made[name])) {
      throw new Error(`stylua.toml: ${name} = ${value} is not known here`);
    }
  }
  return made;
}

const write = process.argv[2] === "--write";
const folders = process.argv.slice(write ? 3 : 2);
const files = folders.flatMap((folder) =>
  fs.readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".lua")).map((name) => path.join(folder, name)),
);
const wrong = files.filter((file) => {
  const before = fs.readFileSync(file, "utf8");
  const after = stylua.formatCode(before, config(), undefined, stylua.OutputVerification.Full);
  if (write && after !== before) {
    fs.writeFileSync(file, after);
  }
  return after !== before;
});
console.log(`${files.length} files, ${write ? "put right" : "not in style"}: ${wrong.join(", ") || "none"}`);
process.exitCode = files.length === 0 || (wrong.length > 0 && !write) ? 1 : 0;
