// One render over `/vui/v1/tts/ws`: sound as it is made, and each passage with its verdict.

import { S } from "../strings.js";

/**
 * `on.sound(bytes)`, `on.passage(message)`, and `on.done(message)` when all of it came; resolves with its number in the history, null if
 * it is not there. Rejects with the API's words.
 */
export async function speak(api, ask, on, signal) {
  const token = await api.authorization({ forSocket: true });
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(api.socketUrl("vui/v1/tts/ws"));
    socket.binaryType = "arraybuffer";
    const end = (settle, value) => {
      socket.close();
      settle(value);
    };
    signal.addEventListener("abort", () => end(reject, new DOMException("", "AbortError")));
    socket.onopen = () => socket.send(JSON.stringify({ type: "speak", passages: true, stored: true, token: `Bearer ${token}`, ...ask }));
    socket.onclose = () => end(reject, new Error(S.errors.unreachable)); // without effect after the last message
    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) return on.sound(new Uint8Array(data));
      const message = JSON.parse(data);
      if (message.type === "error") return end(reject, new Error(message.message));
      if (message.type === "stored") return end(resolve, message.id);
      return on[message.type]?.(message);
    };
  });
}
