// An editor that shares no code with the server: speaks through vscode-languageserver-protocol, as VS Code does.
// Usage: node client.js COMMAND ARGUMENT…   Prints what it saw as one JSON object.
"use strict";

const { spawn } = require("node:child_process");
const {
  CancellationTokenSource,
  ConfigurationRequest,
  createProtocolConnection,
  DidChangeTextDocumentNotification,
  DidOpenTextDocumentNotification,
  ExecuteCommandRequest,
  ExitNotification,
  InitializedNotification,
  InitializeRequest,
  InlineCompletionRequest,
  InlineCompletionTriggerKind,
  RegistrationRequest,
  ShowMessageNotification,
  ShutdownRequest,
  StreamMessageReader,
  StreamMessageWriter,
  WorkDoneProgress,
  WorkDoneProgressCreateRequest,
} = require("vscode-languageserver-protocol/node");

const URI = "file:///work%20space/src/a.py";
const TEXT = "slow\r\n😀 = \r\nmany\r\ncon\r\n";

async function main() {
  const [command, ...commandArguments] = process.argv.slice(2);
  const server = spawn(command, commandArguments, { stdio: ["pipe", "pipe", "inherit"] });
  const exited = new Promise((resolve) => server.on("exit", resolve));
  const connection = createProtocolConnection(
    new StreamMessageReader(server.stdout),
    new StreamMessageWriter(server.stdin),
  );
  const saw = { statuses: [], messages: [], progress: [], registered: [] };
  let ready;
  const isReady = new Promise((resolve) => (ready = resolve));
  listen(connection, saw, ready);
  connection.listen();

  saw.initialize = await connection.sendRequest(InitializeRequest.type, {
    processId: process.pid,
    rootUri: null,
    workspaceFolders: [{ uri: "file:///work%20space", name: "space" }],
    capabilities: {
      general: { positionEncodings: ["utf-16"] },
      window: { workDoneProgress: true },
      workspace: { configuration: true, didChangeConfiguration: { dynamicRegistration: true } },
      textDocument: { inlineCompletion: { dynamicRegistration: false } },
    },
  });
  await connection.sendNotification(InitializedNotification.type, {});
  await connection.sendNotification(DidOpenTextDocumentNotification.type, {
    textDocument: { uri: URI, languageId: "python", version: 1, text: TEXT },
  });
  await isReady;

  saw.astral = await ask(connection, 1, 99, InlineCompletionTriggerKind.Automatic);
  saw.invoked = await ask(connection, 2, 4, InlineCompletionTriggerKind.Invoked);
  saw.selected = await ask(connection, 3, 3, InlineCompletionTriggerKind.Automatic, {
    range: range(3, 0, 3, 3),
    text: "console",
  });
  const slow = ask(connection, 0, 4, InlineCompletionTriggerKind.Automatic);
  saw.newer = await ask(connection, 2, 4, InlineCompletionTriggerKind.Automatic);
  saw.superseded = await slow;
  saw.cancelCode = await cancelled(connection);
  const stale = ask(connection, 0, 4, InlineCompletionTriggerKind.Automatic);
  await connection.sendNotification(DidChangeTextDocumentNotification.type, {
    textDocument: { uri: URI, version: 2 },
    contentChanges: [{ range: range(0, 4, 0, 4), text: "er" }],
  });
  saw.stale = await stale;
  const [item] = saw.astral.items;
  await connection.sendNotification("textDocument/didShowCompletion", { item });
  saw.accepted = await connection.sendRequest(ExecuteCommandRequest.type, item.command);
  saw.state = await connection.sendRequest("test/state", {});
  saw.shutdown = await connection.sendRequest(ShutdownRequest.type);
  await connection.sendNotification(ExitNotification.type);
  saw.exitCode = await exited;
  connection.dispose();
  process.stdout.write(JSON.stringify(saw));
}

function listen(connection, saw, ready) {
  connection.onNotification("tersely/didChangeStatus", (status) => {
    saw.statuses.push(status);
    if (status.message === "fake is ready") ready();
  });
  connection.onNotification(ShowMessageNotification.type, ({ message }) => saw.messages.push(message));
  connection.onRequest(ConfigurationRequest.type, () => [{ level: "eager", maxTokens: "x" }]);
  connection.onRequest(RegistrationRequest.type, ({ registrations }) => {
    saw.registered.push(...registrations.map((one) => one.method));
  });
  connection.onRequest(WorkDoneProgressCreateRequest.type, ({ token }) => {
    connection.onProgress(WorkDoneProgress.type, token, ({ kind }) => saw.progress.push(kind));
  });
}

function ask(connection, line, character, triggerKind, selectedCompletionInfo, token) {
  const context = selectedCompletionInfo ? { triggerKind, selectedCompletionInfo } : { triggerKind };
  const question = { textDocument: { uri: URI }, position: { line, character }, context };
  return connection.sendRequest(InlineCompletionRequest.type, question, token);
}

async function cancelled(connection) {
  const source = new CancellationTokenSource();
  const waiting = ask(connection, 0, 4, InlineCompletionTriggerKind.Automatic, undefined, source.token);
  setTimeout(() => source.cancel(), 50);
  try {
    return await waiting;
  } catch (error) {
    return error.code;
  }
}

function range(line, character, endLine, endCharacter) {
  return { start: { line, character }, end: { line: endLine, character: endCharacter } };
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
