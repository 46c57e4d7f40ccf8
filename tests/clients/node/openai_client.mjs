// Uses OpenAI's Node client against a server of ours, and prints what it answered as JSON.
// node openai_client.mjs BASE_URL API_KEY RECORDING
import { createReadStream } from "node:fs";
import OpenAI from "openai";

const [baseURL, apiKey, recording] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const ask = (options) => client.audio.transcriptions.create({ file: createReadStream(recording), model: "whisper-1", ...options });

const json = await ask({ language: "en" });
const verbose = await ask({ response_format: "verbose_json", timestamp_granularities: ["word", "segment"] });
const subtitles = await ask({ response_format: "srt" });
const events = [];
for await (const event of await ask({ stream: true })) events.push(event);
const speech = await client.audio.speech.create({ model: "tts-1", voice: "nova", input: "Good morning.", response_format: "mp3" });
const models = [];
for await (const model of client.models.list()) models.push(model.id);
let refused;
try {
  await ask({ temperature: 7 });
} catch (error) {
  refused = { name: error.constructor.name, status: error.status, param: error.param, id: error.requestID };
}
let unknown;
try {
  await new OpenAI({ baseURL, apiKey: "fx_nobody", maxRetries: 0 }).models.list();
} catch (error) {
  unknown = { name: error.constructor.name, status: error.status };
}
console.log(
  JSON.stringify({
    text: json.text,
    words: verbose.words,
    subtitles,
    events,
    speech_bytes: (await speech.arrayBuffer()).byteLength,
    models,
    refused,
    unknown,
  }),
);
