// A conversation with the model, by voice, by push-to-talk, or in writing.

import { announce, fill, h } from "../core/dom.js";
import { link } from "../core/router.js";
import { Conversation } from "../audio/conversation.js";
import { Microphone } from "../audio/microphone.js";
import { described, run } from "../audio/page_tools.js";
import { button, checkbox, choices, field, linkButton, problem, relabel, select, switchOff } from "../parts/controls.js";
import { Dialogue } from "../parts/dialogue.js";
import { icon } from "../parts/icons.js";
import { allVoices } from "../parts/voice_list.js";
import { S } from "../strings.js";

const T = S.talk;

export async function render(main, { session, signal }) {
  main.append(h("h1", {}, T.title));
  const talk = new Talk(session.api, await allVoices(session, signal), signal);
  main.append(h("div", { class: "flow" }, talk.stage, talk.problems, talk.dialogue.element, talk.after, talk.options));
}

class Talk {
  constructor(api, voices, signal) {
    Object.assign(this, { api, signal, conversation: null, microphone: null, mode: "free", held: false });
    this.dialogue = new Dialogue();
    this.problems = h("div", {});
    this.after = h("div", {});
    this.orb = h("div", { class: "orb", data: { state: "off" }, "aria-hidden": "true" }, icon("talk"));
    this.state = h("p", { class: "state", role: "status" }, T.states.off);
    this.toggle = button(T.start, { name: "talk", kind: "main", onClick: () => (this.conversation ? this.conversation.close() : this.start()) });
    this.push = this.#pushButton();
    this.writing = this.#writing();
    this.stage = h("section", { class: "card stage", "aria-label": T.title }, this.orb, this.state, h("div", { class: "row" }, this.toggle, this.push), this.writing);
    this.voice = select(voices.map(({ id, name, about }) => [id, `${name} · ${about}`]), voices.find((voice) => !voice.own)?.id);
    this.instructions = h("textarea", { rows: "3", placeholder: T.instructionsExample });
    this.tools = checkbox(T.tools, false);
    this.options = h(
      "details",
      { class: "card" },
      h("summary", {}, T.options),
      h("div", {}, choices(T.mode, Object.entries(T.modes), this.mode, (mode) => this.#setMode(mode))),
      field(T.voice, this.voice),
      field(T.instructions, this.instructions),
      this.tools.element,
      h("p", { class: "help" }, T.optionsHelp),
    );
    signal.addEventListener("abort", () => this.conversation?.close());
  }

  async start() {
    fill(this.problems);
    fill(this.after);
    switchOff(this.toggle, true);
    this.#show("opening");
    try {
      this.microphone = await Microphone.open({ onPiece: (bytes) => this.conversation?.sendAudio(bytes), onLevel: (level) => this.#showLevel(level, "you") });
    } catch (error) {
      fill(this.problems, h("p", { class: "notice" }, `${error.message} ${T.noMicrophone}`));
    }
    try {
      this.signal.throwIfAborted();
      this.conversation = await Conversation.open(this.api, { config: this.#config(), unreachable: S.errors.unreachable }, this.#events());
      if (this.signal.aborted) this.conversation.close();
      this.#setMode(this.mode);
      relabel(this.toggle, "stop", T.end);
      this.writing.hidden = false;
      this.#show("waiting");
    } catch (error) {
      this.#ended();
      fill(this.problems, problem(error));
    } finally {
      switchOff(this.toggle, false);
    }
  }

  #config() {
    return {
      type: "realtime",
      ...(this.instructions.value.trim() ? { instructions: this.instructions.value.trim() } : {}),
      ...(this.tools.box.checked ? { tools: described() } : {}),
      audio: {
        input: { transcription: { model: "any" }, turn_detection: this.mode === "push" ? null : { type: "semantic_vad" } },
        output: { voice: this.voice.value },
      },
    };
  }

  #events() {
    const { dialogue } = this;
    return {
      level: (level) => this.#showLevel(level, "model"),
      item: (item) => dialogue.place(item.id, item.role),
      said: (id, text) => dialogue.show(id, "user", text),
      answered: (id, text) => dialogue.show(id, "assistant", text),
      turn: (id, marks) => dialogue.latency(id, marks),
      call: (item) => this.#call(item),
      // The end of what is interrupted comes while the button is held, and ends no listening.
      state: (name) => this.held || this.#show(name),
      failed: (message) => fill(this.problems, problem(new Error(message))),
      closed: (lost) => {
        const begun = this.conversation;
        this.#ended();
        if (lost && begun && !this.problems.textContent) fill(this.problems, problem(new Error(T.lost)));
      },
    };
  }

  async #call(item) {
    this.dialogue.tool(item.id, item.name, item.arguments);
    const output = await run(this.api, item);
    this.dialogue.tool(item.id, item.name, item.arguments, output);
    this.conversation?.send("conversation.item.create", { item: { type: "function_call_output", call_id: item.call_id, output } });
    this.conversation?.send("response.create");
  }

  #setMode(mode) {
    this.mode = mode;
    this.push.hidden = mode !== "push" || !this.conversation;
    if (this.microphone) this.microphone.muted = mode === "push";
    this.conversation?.send("session.update", { session: this.#config() });
  }

  #pushButton() {
    const press = () => {
      if (this.held || !this.conversation) return;
      this.held = true;
      this.conversation.press();
      if (this.microphone) this.microphone.muted = false;
      this.#show("listening");
    };
    const release = () => {
      if (!this.held) return;
      this.held = false;
      if (this.microphone) this.microphone.muted = true;
      this.conversation?.release();
      this.#show("thinking");
    };
    const isKey = (event) => event.key === " " || event.key === "Enter";
    const made = button(T.push, { name: "transcribe", hidden: true });
    made.addEventListener("pointerdown", press);
    for (const event of ["pointerup", "pointercancel", "blur"]) made.addEventListener(event, release);
    made.addEventListener("keydown", (event) => isKey(event) && (event.preventDefault(), press()));
    made.addEventListener("keyup", (event) => isKey(event) && release());
    return made;
  }

  #writing() {
    const text = h("input", { "aria-label": T.write, placeholder: T.write });
    const send = button(T.send);
    send.type = "submit";
    const submit = (event) => {
      event.preventDefault();
      if (!text.value.trim()) return;
      this.dialogue.show(`written-${Date.now()}`, "user", text.value.trim());
      this.conversation?.write(text.value.trim());
      text.value = "";
      this.#show("thinking");
    };
    return h("form", { class: "row", hidden: true, on: { submit } }, h("div", { class: "grow" }, text), send);
  }

  #show(state) {
    this.orb.dataset.state = state;
    const text = state === "waiting" && !this.microphone ? T.waitingForText : T.states[state];
    if (this.state.textContent !== text) this.state.textContent = text;
  }

  /** The circle is as loud as the one who speaks. */
  #showLevel(level, who) {
    if ((who === "model") === (this.orb.dataset.state === "speaking")) this.orb.style.setProperty("--level", level.toFixed(2));
  }

  #ended() {
    const id = this.conversation?.id;
    this.microphone?.close();
    [this.microphone, this.conversation] = [null, null];
    this.orb.style.setProperty("--level", "0");
    this.held = false;
    if (this.push === document.activeElement || this.writing.contains(document.activeElement)) this.toggle.focus();
    this.push.hidden = true;
    this.writing.hidden = true;
    relabel(this.toggle, "talk", T.start);
    this.#show("off");
    if (id && this.dialogue.lines.size) fill(this.after, linkButton(T.open, link("conversations", id), { name: "history" }));
    announce(T.ended);
  }
}
