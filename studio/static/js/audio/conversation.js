// A realtime session over a WebSocket: what is said goes in, what is answered comes out, and turns are timed.

import { watchNode } from "./levels.js";
import { PcmPlayer } from "./pcm_player.js";

const RATE = 24_000;

/** Events, by `on.NAME`: `level(0…1)` of the answer's sound, `item(item)`, `said(id, text, isFinal)`, `answered(id, text)`, `call(item)`, `state(name)`, `turn(latencies)`,
 * `failed(message)`, `closed(lost)`, which is true unless `close()` ended it. `turn` has the marks of `LatencyScale.line`. */
export class Conversation {
  static async open(api, session, on) {
    const token = await api.authorization({ forSocket: true });
    const url = api.socketUrl("v1/realtime");
    url.searchParams.set("model", "fluxions");
    // Browsers set no headers on a socket; the protocol takes the token as a subprotocol, which no log of addresses has.
    const socket = new WebSocket(url, ["realtime", `openai-insecure-api-key.${token}`]);
    const made = new Conversation(socket, session, on);
    await made.opened;
    return made;
  }

  constructor(socket, session, on) {
    Object.assign(this, { socket, session, on, answering: null, stopped: null, marks: {}, audioItem: null, audioFrom: 0 });
    this.player = new PcmPlayer(RATE);
    this.endLevel = watchNode(this.player.output, (level) => on.level(level));
    this.texts = new Map();
    this.opened = new Promise((resolve, reject) => {
      this.begun = resolve;
      this.refused = reject;
    });
    socket.onmessage = ({ data }) => this.#received(JSON.parse(data));
    socket.onclose = () => this.#closed();
  }

  send(type, fields = {}) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type, ...fields }));
  }

  /** Sends audio of the microphone. */
  sendAudio(bytes) {
    this.send("input_audio_buffer.append", { audio: btoa(String.fromCharCode(...bytes)) });
  }

  /** A written turn. */
  write(text) {
    this.interrupt();
    this.send("conversation.item.create", { item: { type: "message", role: "user", content: [{ type: "input_text", text }] } });
    this.#turnEnded();
    this.send("response.create");
  }

  /** Push-to-talk: what is said from now on is the next turn. */
  press() {
    this.interrupt();
    this.send("input_audio_buffer.clear");
  }

  release() {
    this.send("input_audio_buffer.commit");
    this.#turnEnded();
    this.#mark("ended");
    this.send("response.create");
  }

  /** Ends an answer at the place that is played now. */
  interrupt() {
    if (this.answering) this.send("response.cancel");
    this.answering = null; // what still comes of it is not shown or played
    this.#cut();
  }

  close() {
    this.ending = true;
    this.socket.close();
  }

  #cut() {
    if (this.audioItem && this.player.playing) {
      const played = Math.max(0, this.player.position - this.audioFrom);
      this.send("conversation.item.truncate", { item_id: this.audioItem, content_index: 0, audio_end_ms: Math.round(played * 1000) });
    }
    this.player.reset();
    this.player.context.resume();
    this.audioItem = null;
  }

  #closed() {
    this.endLevel();
    this.player.close();
    this.refused(new Error(this.failure ?? this.session.unreachable)); // without effect once the session is open
    this.on.closed(!this.ending);
  }

  /** A turn is over. What answers it is timed from the end of speech, which was so long ago, or from the moment at which a text was sent. */
  #turnEnded(millisAgo = 0) {
    this.stopped = performance.now() - millisAgo;
    this.marks = {};
  }

  #mark(name) {
    if (this.stopped === null || name in this.marks) return;
    this.marks[name] = performance.now() - this.stopped;
    if (this.marks.sounded !== undefined) this.on.turn(this.audioItem, this.marks);
  }

  #received(event) {
    this.#handlers[event.type]?.(event);
  }

  #handlers = {
    "session.created": ({ session }) => {
      this.id = session.id;
      this.send("session.update", { session: this.session.config });
    },
    "session.updated": () => this.begun(),
    "input_audio_buffer.speech_started": () => {
      // The server decides whether this interrupts; until then the sound waits.
      this.player.context.suspend();
      this.on.state("listening");
    },
    "input_audio_buffer.speech_stopped": ({ audio_end_ms: now, speech_end_ms: ended }) => {
      this.player.context.resume();
      this.#turnEnded(now - ended);
      this.#mark("ended");
      this.on.state("thinking");
    },
    "conversation.item.input_audio_transcription.delta": ({ item_id: id, delta }) => this.on.said(id, this.#longer(id, delta), false),
    "conversation.item.input_audio_transcription.completed": ({ item_id: id, transcript }) => this.on.said(id, transcript, true),
    "conversation.item.added": ({ item }) => item.type === "message" && this.on.item(item),
    "response.created": ({ response }) => {
      this.answering = response.id;
    },
    "response.output_item.added": ({ response_id: response, item }) => response === this.answering && item.type === "message" && this.#mark("answered"),
    "response.output_audio_transcript.delta": ({ response_id: response, item_id: id, delta }) => {
      if (response !== this.answering) return;
      this.on.answered(id, this.#longer(id, delta));
    },
    "response.output_audio.delta": ({ response_id: response, item_id: id, delta }) => {
      if (response !== this.answering) return;
      if (this.audioItem !== id) {
        // What was said before a call of a function may still be playing; this follows it.
        if (!this.player.playing) this.player.reset();
        this.audioFrom = this.player.received;
        this.audioItem = id;
      }
      this.#mark("sounded");
      this.player.push(Uint8Array.from(atob(delta), (letter) => letter.charCodeAt(0)));
      this.on.state("speaking");
    },
    "response.output_item.done": ({ item }) => item.type === "function_call" && item.status === "completed" && this.on.call(item),
    "response.done": ({ response }) => this.#done(response),
    error: ({ error }) => {
      if (error.code === "response_cancel_not_active") return;
      this.failure = error.message;
      this.on.failed(error.message);
    },
  };

  #longer(id, delta) {
    const text = (this.texts.get(id) ?? "") + delta;
    this.texts.set(id, text);
    return text;
  }

  #done(response) {
    if (response.status === "failed") this.on.failed(response.status_details?.error?.message ?? response.status);
    if (response.id !== this.answering) return;
    this.answering = null;
    if (response.status === "cancelled") this.#cut();
    // An answer that calls a function before it says anything goes on in the next response, which is timed from the same end of speech.
    const goesOn = response.output.some((item) => item.type === "function_call");
    if (this.marks.sounded !== undefined || !(goesOn || response.status === "cancelled")) this.stopped = null;
    const id = this.audioItem;
    this.player.ended().then(() => this.audioItem === id && !this.answering && this.on.state(goesOn ? "thinking" : "waiting"));
  }
}
