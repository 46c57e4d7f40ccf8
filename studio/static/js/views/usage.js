// What was used, by day and kind; and for operators, how the instance is.

import { h } from "../core/dom.js";
import { count, duration, exactSecs, money, shortDay } from "../core/format.js";
import { go } from "../core/router.js";
import { chartCard, table } from "../parts/chart.js";
import { choices, show } from "../parts/controls.js";
import { operations } from "../parts/operations.js";
import { S } from "../strings.js";

const T = S.usage;

export async function render(main, { session, query, signal }) {
  const days = query.get("days") ?? "30";
  const body = h("div", { class: "stack" });
  main.append(
    h("div", { class: "head" }, h("h1", {}, T.title), choices(T.period, Object.entries(T.periods), days, (value) => go("usage", undefined, { days: value }))),
    body,
  );
  if (session.may("operator")) main.append(await operations(session.api, signal));
  const since = new Date(Date.now() - (Number(days) - 1) * 86_400_000).toISOString().slice(0, 10);
  await show(body, async () => shown(await session.api.get("v1/usage", { since }, signal), signal));
}

function shown(usage, signal) {
  const { days } = usage;
  const sum = (read) => days.reduce((total, day) => total + read(day), 0);
  const cost = (day) => day.transcriptions.cost_usd + day.speech.cost_usd + day.conversations.cost_usd;
  const facts = [
    [T.transcribed, duration(sum((day) => day.transcriptions.audio_secs))],
    [T.characters, count(sum((day) => day.speech.chars))],
    [T.sessions, count(sum((day) => day.conversations.count))],
    [T.cost, money(sum(cost))],
  ];
  const chart = (title, read, text, rest) =>
    chartCard({
      title,
      signal,
      shown: text,
      rows: days.map((day) => ({ day: day.day, value: read(day) })),
      columns: [dayColumn(days), { head: title, number: true, cells: days.map((day) => text(read(day))) }, ...rest(days)],
    });
  const number = (head, read, text = count) => (all) => ({ head, number: true, cells: all.map((day) => text(read(day))) });
  const more = (...columns) => (all) => columns.map((column) => column(all));
  return [
    h("dl", { class: "facts card" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h(
      "div",
      { class: "cards" },
      chart(T.transcribed, (day) => day.transcriptions.audio_secs, duration, more(number(T.recordings, (day) => day.transcriptions.count), number(T.cost, (day) => day.transcriptions.cost_usd, money))),
      chart(T.characters, (day) => day.speech.chars, count, more(number(T.renders, (day) => day.speech.count), number(T.cost, (day) => day.speech.cost_usd, money))),
      chart(T.talked, (day) => day.conversations.duration_secs, duration, more(number(T.sessions, (day) => day.conversations.count), number(T.cost, (day) => day.conversations.cost_usd, money))),
      chart(T.cost, cost, money, more()),
    ),
    latencies(usage),
  ];
}

const dayColumn = (days) => ({ head: T.day, cells: days.map((day) => shortDay(day.day)) });

function latencies({ processing_per_audio_sec: processing, answer_secs: answers }) {
  const rows = [
    [T.processing, processing, exactSecs],
    [T.answers, answers, exactSecs],
  ];
  const cell = (read) => rows.map(([, found, text]) => (found[read] === null ? S.none : text(found[read])));
  return h(
    "section",
    { class: "card", "aria-label": T.latencies },
    h("h2", {}, T.latencies),
    table(T.latencies, [
      { head: T.what, cells: rows.map(([name]) => name) },
      { head: T.measured, number: true, cells: rows.map(([, found]) => count(found.count)) },
      ...["p50", "p90", "p99"].map((name) => ({ head: T.percentiles[name], number: true, cells: cell(name) })),
    ]),
  );
}

