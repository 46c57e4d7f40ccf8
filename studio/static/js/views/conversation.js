// One conversation of the history, as dialogue beside its sound.

import { fill, h } from "../core/dom.js";
import { place } from "../core/focus.js";
import { localUrl } from "../core/api.js";
import { clock, duration, moment, voiceName } from "../core/format.js";
import { go } from "../core/router.js";
import { button, confirm, empty, problem } from "../parts/controls.js";
import { downloadButton, saveBlob, saveUrl } from "../parts/downloads.js";
import { LatencyScale } from "../parts/latency.js";
import { PlayedTurns } from "../parts/played_turns.js";
import { S } from "../strings.js";

const T = S.history;
const AGAIN_MILLIS = 1500;
const WHOLE = { include_tool_calls: true, include_measures: true, turns_limit: 2000 };

export async function render(main, parts) {
  const { session, id, query, signal } = parts;
  const path = `history/conversations/${encodeURIComponent(id)}`;
  const found = await session.api.get(path, WHOLE, signal);
  if (signal.aborted) return;
  const url = localUrl(found.download_url);
  const audio = url ? h("audio", { controls: true, src: url, preload: "metadata", "aria-label": T.sound }) : null;
  const held = place(main);
  const dialogue = h("ol", { class: "dialogue", "aria-label": T.conversation });
  const played = audio ? new PlayedTurns(audio) : null;
  dialogue.append(...ordered(found, played, new LatencyScale(dialogue)));
  const sound = audio ? h("div", { class: "sound-bar" }, audio) : null;
  const hint = audio && found.turns.length ? h("p", { class: "quiet" }, T.hint) : null;
  const shown = dialogue.childElementCount ? dialogue : empty("talk", T.silentTitle, T.silentText);
  fill(main, heading(session.api, path, found), h("div", { class: "flow" }, sound, hint, shown));
  const wanted = query.get("turn") && main.querySelector(`[data-turn="${CSS.escape(query.get("turn"))}"]`);
  if (wanted) open(wanted, played);
  held.restore(() => main);
  if (found.ended_at) return;
  // Its sound is stored when it ends.
  main.append(h("p", { class: "notice", role: "status" }, T.goesOn));
  setTimeout(() => !signal.aborted && render(main, parts).catch((error) => error.name !== "AbortError" && main.append(problem(error))), AGAIN_MILLIS);
}

function heading(api, path, found) {
  const title = found.title ?? T.conversation;
  const lasted = found.ended_at ? duration(found.duration_secs) : null;
  const facts = [moment(found.started_at), lasted, found.voice && voiceName(found.voice), T.turns(Math.max(found.turn_count, found.turns.length))];
  const remove = () => confirm({ title: T.removeTitle, question: T.removeText(title), text: S.remove, act: () => api.delete(path), onDone: () => go("history") });
  return h(
    "div",
    { class: "head" },
    h("div", {}, h("h1", {}, title), h("p", { class: "quiet" }, facts.filter(Boolean).join(" · "))),
    found.ended_at ? [downloadButton(files(api, path, found, title)), button(S.remove, { name: "remove", kind: "quiet", narrow: true, onClick: remove })] : null,
  );
}

/** What can be saved of a conversation; links to its sound are made anew, as they end after some time. */
function files(api, path, found, title) {
  const sound = async () => saveUrl(localUrl((await api.get(path, { include_turns: false })).download_url), `${title}.opus`);
  const text = () => saveBlob(new Blob([asText(found)], { type: "text/plain" }), `${title}.txt`);
  const json = async () => saveBlob(await (await api.request(path, { query: WHOLE })).blob(), `${title}.json`);
  return [...(found.download_url ? [[T.files.sound, sound]] : []), [T.files.text, text], [T.files.json, json]];
}

const asText = (found) => timed(found).map(({ turn, start }) => `${start === null ? "" : `${clock(start)} `}${roleName(turn)}: ${turn.text}\n`).join("");
const roleName = ({ role }) => S.talk.roles[role] ?? role;

/** Turns with the seconds of the sound between which they are heard; null for those that are not, as written ones. */
function timed({ started_at: began, turns }) {
  const known = turns.map(({ measures }) => ({ start: measures?.start_secs ?? null, end: measures?.end_secs ?? null }));
  if (known.some(({ start }) => start !== null)) return turns.map((turn, index) => ({ turn, ...known[index] }));
  // An earlier version stored when a turn was over; the next one began then.
  let start = 0;
  return turns.map((turn) => {
    const from = start;
    start = Math.max(start, (Date.parse(turn.created_at) - Date.parse(began)) / 1000);
    return { turn, start: from, end: start };
  });
}

/** Turns and tool calls by time. */
function ordered(found, played, scale) {
  const said = timed(found).map((one) => [one.turn.created_at, turnLine(one, played, scale)]);
  const used = found.tool_calls.map((call) => [call.created_at, h("li", { data: { role: "tool" } }, h("small", {}, T.tool(call.tool)), h("p", {}, `${JSON.stringify(call.args)} → ${call.result ?? S.none}`))]);
  return [...said, ...used].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, line]) => line);
}

function turnLine({ turn, start, end }, played, scale) {
  const text = turn.text ? h("p", {}, turn.text) : h("p", { class: "quiet" }, T.unheard);
  const line = h("li", { data: { role: turn.role, turn: turn.id } }, h("small", {}, roleName(turn)), text, measured(turn, scale));
  if (!played || start === null) return line;
  line.append(button(clock(start), { name: "play", kind: "quiet", label: `${S.play} ${clock(start)}`, onClick: () => played.from(line) }));
  played.add(line, start, end);
  return line;
}

/** How long an answer took, and how much of it was heard. */
function measured({ text, measures }, scale) {
  const { end_of_turn_secs: ended, first_token_secs: answered, first_sent_secs: sounded, interrupted, words_heard: heard, words_said: said } = measures ?? {};
  // An answer that was prepared before the turn was over has not begun later for it.
  const marks = { ended, answered: answered && Math.max(ended ?? 0, answered), sounded };
  const known = Object.entries(marks).filter(([, secs]) => typeof secs === "number").map(([name, secs]) => [name, secs * 1000]);
  const bar = typeof sounded === "number" ? scale.line(Object.fromEntries(known)) : null;
  return [interrupted && text && heard < said ? h("small", {}, T.heard(heard, said)) : null, bar];
}

/** Marks the turn that a search found, and has it ready to be played. */
function open(line, played) {
  line.setAttribute("aria-current", "true");
  played?.seek(line);
  line.scrollIntoView({ block: "center" });
  line.querySelector("button")?.focus({ preventScroll: true });
}
