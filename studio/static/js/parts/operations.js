// How the instance is: engines, queue, archives. For keys of scope `operator`.

import { h } from "../core/dom.js";
import { count, duration, moment, money } from "../core/format.js";
import { table } from "./chart.js";
import { button, problem, show } from "./controls.js";
import { S } from "../strings.js";

const T = S.operations;

/** The section, which can be read again. */
export async function operations(api, signal) {
  const body = h("div", { class: "stack" });
  const load = () => show(body, async () => {
    const [status, { archives }] = await Promise.all([api.get("operator/status", {}, signal), api.get("operator/archives", {}, signal)]);
    return [queue(status.jobs), engines(status.engines), archiveCard(archives, api, signal)];
  });
  load();
  return h("section", { class: "stack", "aria-label": T.title }, h("div", { class: "row row-wide" }, h("h2", {}, T.title), button(T.refresh, { kind: "quiet", onClick: load })), body);
}

function queue(jobs) {
  const facts = Object.entries(jobs).filter(([, value]) => typeof value === "number");
  const shown = (name, value) => (name.endsWith("_secs") ? duration(value) : count(value));
  return h("dl", { class: "facts card" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, T.jobs[name] ?? name.replaceAll("_", " ")), h("dd", {}, shown(name, value)))));
}

function engines(slots) {
  const state = (slot) => h("span", { class: `tag ${slot.ready ? "tag-good" : "tag-bad"}` }, slot.ready ? T.ready : T.notReady);
  return h(
    "section",
    { class: "card", "aria-label": T.engines },
    h("h3", {}, T.engines),
    table(T.engines, [
      { head: T.slot, cells: slots.map((slot) => slot.slot.replaceAll("_", " ")) },
      { head: T.engine, cells: slots.map((slot) => slot.engine) },
      { head: T.model, cells: slots.map((slot) => h("span", { class: "mono" }, slot.id)) },
      { head: T.state, cells: slots.map((slot) => [state(slot), slot.problem ? h("p", { class: "help" }, slot.problem) : null]) },
      { head: T.replicas, number: true, cells: slots.map((slot) => count(slot.replicas)) },
    ]),
  );
}

function archiveCard(archives, api, signal) {
  const content = archives.length ? archives.map((one) => archiveRow(one, api, signal)) : h("p", { class: "quiet" }, T.noArchives);
  return h("section", { class: "card", "aria-label": T.archives }, h("h3", {}, T.archives), content);
}

function archiveRow({ id, name, source, status, counts, updated_at: updated, message }, api, signal) {
  const report = h("div", {});
  const open = () => show(report, async () => reportOf(await api.get(`operator/archives/${id}/report`, {}, signal)));
  const all = counts.waiting + counts.processing + counts.completed + counts.failed + counts.skipped;
  const settled = counts.completed + counts.failed + counts.skipped;
  const text = [T.counts(count(settled), count(all)), counts.failed ? T.failed(count(counts.failed)) : null, duration(counts.audio_secs), money(counts.cost_usd), moment(updated)];
  return h(
    "article",
    { class: "field" },
    h("div", { class: "row row-wide" }, h("strong", {}, name || source), h("span", { class: "tag" }, T.states[status] ?? status)),
    h("progress", { max: String(all || 1), value: String(settled), "aria-label": T.progress(name || source) }),
    h("p", { class: "help" }, text.filter(Boolean).join(" · ")),
    message ? problem(new Error(message)) : null,
    h("div", { class: "row" }, button(T.report, { kind: "quiet", label: T.reportOf(name || source), onClick: open })),
    report,
  );
}

function reportOf({ active_secs: secs, x_realtime: speed, failures }) {
  const line = h("p", {}, [T.active(duration(secs)), speed === null ? null : T.speed(speed.toFixed(1))].filter(Boolean).join(" · "));
  if (!failures.length) return line;
  return [line, table(T.failures, [
    { head: T.reason, cells: failures.map((one) => one.reason) },
    { head: T.files, number: true, cells: failures.map((one) => count(one.count)) },
  ])];
}
