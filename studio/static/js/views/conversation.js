// One conversation of the history, as dialogue beside its sound.

import { fill, h } from "../core/dom.js";
import { place } from "../core/focus.js";
import { localUrl } from "../core/api.js";
import { clock, duration, moment, voiceName } from "../core/format.js";
import { button, empty, problem } from "../parts/controls.js";
import { LatencyScale } from "../parts/latency.js";
import { play } from "../parts/player.js";
import { S } from "../strings.js";

const T = S.history;
const AGAIN_MILLIS = 1500;

export async function render(main, parts) {
  const { session, id, query, signal } = parts;
  const found = await session.api.get(`history/conversations/${encodeURIComponent(id)}`, { include_tool_calls: true, include_measures: true, turns_limit: 2000 }, signal);
  if (signal.aborted) return;
  const url = localUrl(found.download_url);
  const audio = url ? h("audio", { controls: true, src: url, preload: "metadata", "aria-label": T.sound }) : null;
  const lasted = found.ended_at ? duration(found.duration_secs) : null;
  const facts = [moment(found.started_at), lasted, found.voice && voiceName(found.voice), T.turns(Math.max(found.turn_count, found.turns.length))];
  const held = place(main);
  fill(main, h("div", { class: "head" }, h("div", {}, h("h1", {}, found.title ?? T.conversation), h("p", { class: "quiet" }, facts.filter(Boolean).join(" · ")))), audio);
  const dialogue = h("ol", { class: "dialogue", "aria-label": T.conversation });
  dialogue.append(...ordered(found, audio, new LatencyScale(dialogue)));
  main.append(dialogue.childElementCount ? dialogue : empty("talk", T.silentTitle, T.silentText));
  const wanted = query.get("turn") && main.querySelector(`[data-turn="${CSS.escape(query.get("turn"))}"]`);
  if (wanted && audio) audio.currentTime = Number(wanted.dataset.from);
  wanted?.scrollIntoView({ block: "center" });
  wanted?.querySelector("button")?.focus();
  held.restore(() => main);
  if (found.ended_at) return;
  // Its sound is stored when it ends.
  main.append(h("p", { class: "notice", role: "status" }, T.goesOn));
  setTimeout(() => !signal.aborted && render(main, parts).catch((error) => error.name !== "AbortError" && main.append(problem(error))), AGAIN_MILLIS);
}

/** Turns and tool calls by time. A turn is stored at its end, so it begins where the one before it ended. */
function ordered({ started_at: started, turns, tool_calls: calls }, audio, scale) {
  let from = 0;
  const said = turns.map((turn) => {
    const line = turnLine(turn, { from, audio, scale });
    from = Math.max(from, (Date.parse(turn.created_at) - Date.parse(started)) / 1000);
    return [turn.created_at, line];
  });
  const used = calls.map((call) => [call.created_at, h("li", { data: { role: "tool" } }, h("small", {}, T.tool(call.tool)), h("p", {}, `${JSON.stringify(call.args)} → ${call.result ?? S.none}`))]);
  return [...said, ...used].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, line]) => line);
}

function turnLine(turn, { from, audio, scale }) {
  const hear = audio
    ? button(clock(from), { name: "play", kind: "quiet", label: `${S.play} ${clock(from)}`, onClick: () => { audio.currentTime = from; play(audio); } })
    : null;
  const text = turn.text ? h("p", {}, turn.text) : h("p", { class: "quiet" }, T.unheard);
  return h("li", { data: { role: turn.role, turn: turn.id, from } }, h("small", {}, S.talk.roles[turn.role] ?? turn.role), text, measured(turn, scale), hear);
}

/** How long an answer took, and how much of it was heard. */
function measured({ text, measures }, scale) {
  const { end_of_turn_secs: ended, first_token_secs: answered, first_sent_secs: sounded, interrupted, words_heard: heard, words_said: said } = measures ?? {};
  // An answer that was prepared before the turn was over has not begun later for it.
  const marks = { ended, answered: answered && Math.max(ended ?? 0, answered), sounded };
  const known = Object.entries(marks).filter(([, secs]) => typeof secs === "number").map(([name, secs]) => [name, secs * 1000]);
  const timed = typeof sounded === "number" ? scale.line(Object.fromEntries(known)) : null;
  return [interrupted && text && heard < said ? h("small", {}, T.heard(heard, said)) : null, timed];
}
