// Asks as Continue does: a hole through its provider `mistral`, a conversation and the models through `openai`.
// Usage: node ask.js APIBASE. Prints what Continue would show, as JSON.

import { constructLlmApi } from "@continuedev/openai-adapters";

const apiBase = process.argv[2];
const { signal } = new AbortController();
const provided = (provider) => constructLlmApi({ provider, apiBase, apiKey: "a key that is not asked for" });

async function text(chunks) {
  let whole = "";
  for await (const chunk of chunks) {
    whole += chunk.choices[0]?.delta?.content ?? "";
  }
  return whole;
}

const hole = { model: "fake", prompt: "def add(", suffix: "\n", max_tokens: 64, temperature: 0.01, stop: ["\n\n"], stream: true };
const messages = [{ role: "user", content: "Say hi." }];
const [mistral, openai] = [provided("mistral"), provided("openai")];
const whole = await openai.chatCompletionNonStream({ model: "fake", messages, stream: false }, signal);
console.log(
  JSON.stringify({
    hole: await text(mistral.fimStream(hole, signal)),
    streamed: await text(openai.chatCompletionStream({ model: "fake", messages, stream: true }, signal)),
    whole: whole.choices[0].message.content,
    models: (await openai.list()).map((model) => model.id),
  }),
);
