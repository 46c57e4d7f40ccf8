// One conversation of the history, as dialogue beside its sound.

import { fill, h } from "../core/dom.js";
import { place } from "../core/focus.js";
import { localUrl } from "../core/api.js";
import { clock, duration, moment, voiceName } from "../core/format.js";
import { button, empty, problem } from "../parts/controls.js";
import { play } from "../parts/player.js";
import { S } from "../strings.js";

const T = S.history;
const AGAIN_MILLIS = 1500;

export async function render(main, parts) {
  const { session, id, query, signal } = parts;
  const found = await session.api.get(`history/conversations/${encodeURIComponent(id)}`, { include_tool_calls: true, turns_limit: 2000 }, signal);
  if (signal.aborted) return;
  const url = localUrl(found.download_url);
  const audio = url ? h("audio", { controls: true, src: url, preload: "metadata", "aria-label": T.sound }) : null;
  const lasted = found.ended_at ? duration(found.duration_secs) : null;
  const facts = [moment(found.started_at), lasted, found.voice && voiceName(found.voice), T.turns(Math.max(found.turn_count, found.turns.length))];
  const held = place(main);
  fill(main, h("div", { class: "head" }, h("div", {}, h("h1", {}, T.conversation), h("p", { class: "quiet" }, facts.filter(Boolean).join(" · ")))), audio);
  const lines = ordered(found, audio);
  main.append(lines.length ? h("ol", { class: "dialogue" }, lines) : empty("talk", T.conversation, T.emptyConversation));
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
function ordered({ started_at: started, turns, tool_calls: calls }, audio) {
  let from = 0;
  const said = turns.map((turn) => {
    const line = turnLine(turn, from, audio);
    from = Math.max(from, (Date.parse(turn.created_at) - Date.parse(started)) / 1000);
    return [turn.created_at, line];
  });
  const used = calls.map((call) => [call.created_at, h("li", { data: { role: "tool" } }, h("small", {}, T.tool(call.tool)), h("p", {}, `${JSON.stringify(call.args)} → ${call.result ?? S.none}`))]);
  return [...said, ...used].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, line]) => line);
}

function turnLine(turn, from, audio) {
  const hear = audio
    ? button(clock(from), { name: "play", kind: "quiet", label: `${S.play} ${clock(from)}`, onClick: () => { audio.currentTime = from; play(audio); } })
    : null;
  return h("li", { data: { role: turn.role, turn: turn.id, from } }, h("small", {}, T.roles[turn.role] ?? turn.role), turn.text ? h("p", {}, turn.text) : h("p", { class: "quiet" }, T.unheard), hear);
}
