// Parses each file named on the command line with a PowerShell grammar and prints one JSON line per file:
// {file, errors: [{line, column, text}], commands: [name], parameters: [name], kinds: [node type], root: s-expression with --tree}.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { Language, Parser } from "web-tree-sitter";

const require = createRequire(import.meta.url);
await Parser.init();
const parser = new Parser();
parser.setLanguage(await Language.load(require.resolve("tree-sitter-powershell/tree-sitter-powershell.wasm")));

const files = process.argv.slice(2).filter((a) => a !== "--tree");
const tree = process.argv.includes("--tree");
for (const file of files) {
  const source = await readFile(file, "utf8");
  const root = parser.parse(source).rootNode;
  const result = { file, errors: [], commands: [], parameters: [], kinds: [] };
  const kinds = new Set();
  const visit = (node) => {
    kinds.add(node.type);
    if (node.isError || node.isMissing) {
      result.errors.push({ line: node.startPosition.row + 1, column: node.startPosition.column + 1, text: node.text.slice(0, 80) });
    }
    if (node.type === "command_name") {
      result.commands.push(node.text);
    }
    if (node.type === "command_parameter") {
      result.parameters.push(node.text);
    }
    for (const child of node.children) {
      visit(child);
    }
  };
  visit(root);
  result.kinds = [...kinds].sort();
  if (tree) {
    result.root = root.toString();
  }
  console.log(JSON.stringify(result));
}
