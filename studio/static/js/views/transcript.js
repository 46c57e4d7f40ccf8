// One transcript beside its sound.

import { announce, fill, h } from "../core/dom.js";
import { localUrl } from "../core/api.js";
import { clock, count, duration, languageName, moment } from "../core/format.js";
import { go } from "../core/router.js";
import { Transcript } from "../core/transcript.js";
import { button, confirm, dialog, empty, field, problem, toast } from "../parts/controls.js";
import { downloads } from "../parts/downloads.js";
import { findBar } from "../parts/find_bar.js";
import { icon } from "../parts/icons.js";
import { Player } from "../parts/player.js";
import { Words } from "../parts/words.js";
import { S } from "../strings.js";
import { watch } from "../parts/job_progress.js";

const T = S.transcript;
const MOST_POINTS = 2000;

export async function render(main, { session, id, query, signal }) {
  const { api } = session;
  const path = `transcriptions/${id}`;
  const meta = await api.get(`history/${path}`, {}, signal);
  main.append(heading(api, path, meta));
  if (meta.status === "submitted" || meta.status === "processing") {
    main.append(watch(api, { id, filename: meta.filename }, { signal, onDone: () => !signal.aborted && go("transcripts", id, { done: 1 }) }));
    return;
  }
  if (meta.status !== "completed") {
    main.append(empty("transcribe", S.status[meta.status], meta.error_message ?? ""));
    return;
  }
  const [segments, corrections] = await Promise.all([segmentsOf(api, path, meta, signal), api.get(`${path}/corrections`, {}, signal)]);
  if (signal.aborted) return;
  new View(main, { api, path, meta, segments, corrections, signal }).show(query.get("at"), query.get("said"));
}

/** Segments with words. The stored file is sent as it is, which is quickest; a bucket's answer would be of another origin. */
async function segmentsOf(api, path, meta, signal) {
  const url = localUrl(meta.segments_url);
  if (url?.startsWith(location.origin)) return (await fetch(url, { signal })).json();
  return (await api.get(path, { word_level_timestamps: true }, signal)).segments;
}

function heading(api, path, meta) {
  const facts = [
    moment(meta.created_at),
    duration(meta.audio_duration_secs),
    meta.language ? languageName(meta.language) : null,
    meta.num_speakers ? S.history.speakers(meta.num_speakers) : null,
  ];
  const remove = () =>
    confirm({
      title: T.removeTitle,
      question: T.removeText(meta.filename),
      text: S.remove,
      act: () => api.delete(path),
      onDone: () => go("history"),
    });
  return h(
    "div",
    { class: "head" },
    h("div", {}, h("h1", {}, meta.filename), h("p", { class: "quiet" }, facts.filter(Boolean).join(" · "))),
    meta.status === "completed" ? downloads(api, path, meta.filename) : null,
    button(S.remove, { name: "remove", kind: "quiet", narrow: true, onClick: remove }),
  );
}

class View {
  constructor(main, parts) {
    Object.assign(this, parts, { main });
    this.transcript = new Transcript(parts.segments, parts.corrections);
    this.legend = h("div", { class: "legend" });
    this.problems = h("div", {});
  }

  /** Shows all of it; opened at a second if there is one, and where a search found `said` in the segment that begins there, at its word. */
  show(second, said) {
    const url = localUrl(this.meta.download_url);
    this.player = url
      ? new Player({ url, durationSecs: this.meta.audio_duration_secs ?? 0, onTime: (secs) => this.words?.light(secs, this.player.playing), signal: this.signal })
      : null;
    if (this.player) this.main.append(this.player.element);
    this.words = new Words({
      transcript: this.transcript,
      events: [],
      nameOf: (speaker) => this.nameOf(speaker),
      onWord: (secs, play) => this.player?.seek(secs, play),
      onCorrect: (s, w) => this.correct(s, w),
      onToggle: () => this.player?.playOrPause(),
      signal: this.signal,
    });
    const warnings = (this.meta.warnings ?? []).map((warning) => h("p", { class: "notice" }, warning.message));
    this.hint = h("p", { class: "quiet hint" });
    this.main.append(...warnings, this.toolbar(), h("div", { class: "above-words" }, this.legend, this.hint), this.problems, this.words.element);
    if (!this.transcript.segments.length) this.words.element.replaceWith(empty("transcribe", T.silentTitle, T.silentText));
    this.showLegend();
    this.player?.waveform.show({ regions: this.transcript.segments });
    if (second !== null) this.#openAt(said ? this.transcript.secondOf(Number(second), said) : Number(second));
    this.loadMore();
  }

  #openAt(secs) {
    this.player?.seek(secs);
    this.words.light(secs, true);
    const word = this.transcript.order[this.transcript.indexAt(secs)];
    if (word) this.words.list.reveal(word.s);
    this.words.element.scrollIntoView({ block: "nearest" });
  }

  /** The waveform, and sounds and turns, come after the words. */
  async loadMore() {
    const { api, path, signal } = this;
    const late = (load, use) => load.then((found) => !signal.aborted && use(found), (error) => error.name !== "AbortError" && error.code !== "no_recording" && fill(this.problems, problem(error)));
    if (this.player) late(api.get(`${path}/peaks`, { points: MOST_POINTS }, signal), ({ peaks }) => this.player.waveform.show({ peaks }));
    late(api.get(path, { name_speakers: true }, signal), (body) => {
      this.known = body.speaker_names ?? {};
      if (Object.keys(this.known).length) this.showNames();
      if (body.turns?.length) this.player?.waveform.show({ regions: body.turns });
      this.words.showEvents(body.events ?? []);
    });
  }

  nameOf(speaker) {
    return this.transcript.corrections.speakers[speaker] ?? this.known?.[speaker] ?? T.speaker(Number(speaker) + 1);
  }

  showLegend() {
    fill(
      this.legend,
      this.transcript.speakers.map((speaker) =>
        h(
          "button",
          { type: "button", class: "button", "aria-label": T.rename(this.nameOf(speaker)), title: T.rename(this.nameOf(speaker)), data: { keep: `speaker-${speaker}` }, on: { click: () => this.rename(speaker) } },
          h("span", { class: "speaker", style: { "--speaker": `var(--speaker-${Number(speaker) % 8})` } }, this.nameOf(speaker)),
          icon("edit"),
        )),
    );
    fill(this.hint, this.#hints().join(" "));
  }

  #hints() {
    const { order, hasUnsure } = this.transcript;
    return [this.player && order.length ? T.hint : null, hasUnsure ? T.unsure : null].filter(Boolean);
  }

  toolbar() {
    const correct = button(T.correct, { name: "edit", narrow: true, "aria-pressed": "false", onClick: () => {
      this.words.correcting = !this.words.correcting;
      correct.setAttribute("aria-pressed", String(this.words.correcting));
      correct.classList.toggle("button-main", this.words.correcting);
      announce(this.words.correcting ? T.correcting : T.correctingEnded);
    } });
    // Where it is silent, Play plays what was found; what plays goes on while somebody types.
    const onChosen = (secs, asked) => (asked || !this.player?.playing) && this.player?.seek(secs);
    return h("div", { class: "row find" }, findBar({ transcript: this.transcript, words: this.words, onChosen }), correct);
  }

  rename(speaker) {
    this.#ask(T.renameTitle, T.name, this.transcript.corrections.speakers[speaker] ?? "", T.renameHelp, (name) => ({ speakers: { [speaker]: name } }));
  }

  correct(s, w) {
    const machine = this.transcript.segments[s].words[w].word.trim();
    const help = `${T.machineText(machine)} ${T.at(clock(this.transcript.segments[s].words[w].start))}`;
    this.#ask(T.correctTitle, T.word, this.transcript.text(s, w).trim(), help, (text) => ({ words: [{ segment: s, word: w, text: text === machine ? "" : text }] }));
  }

  #ask(title, label, value, help, change) {
    const input = h("input", { value, maxlength: "100" });
    dialog(title, (close) => {
      const said = h("div", {});
      const save = button(S.save, { kind: "main" });
      save.type = "submit";
      const submit = async (event) => {
        event.preventDefault();
        try {
          await this.#change(change(input.value.trim()));
          close();
          toast(T.saved(count(this.transcript.corrections.revision)));
        } catch (error) {
          fill(said, problem(error));
        }
      };
      return h("form", { class: "dialog-body", on: { submit } }, field(label, input, help), said, h("div", { class: "row" }, save, button(S.cancel, { onClick: close })));
    });
    input.select();
  }

  async #change(change) {
    const made = await this.api.patch(`${this.path}/corrections`, { revision: this.transcript.corrections.revision, ...change });
    this.transcript.correct(made);
    this.showNames();
  }

  showNames() {
    this.showLegend();
    this.words.list.refreshAll();
  }
}

