// One feed of everything, with filters, and one search that opens a recording at the second.

import { h } from "../core/dom.js";
import { clock, count, dayName, duration, hour, languageName, moment, unbroken, voiceName } from "../core/format.js";
import { keep, kept } from "../core/entry.js";
import { go, link } from "../core/router.js";
import { button, choices, empty, field, linkButton, problem, show, switchOff } from "../parts/controls.js";
import { icon } from "../parts/icons.js";
import { firstSaid, snippet } from "../parts/snippet.js";
import { S } from "../strings.js";

const PAGE = 20;
const HITS_PAGE = 50;
const T = S.history;

export async function render(main, { session, query, signal }) {
  const list = h("section", { "aria-label": T.title });
  const asked = Object.fromEntries(query);
  const search = h("input", { type: "search", value: asked.q ?? "", "aria-label": T.search, placeholder: T.searchExample });
  const form = h(
    "form",
    { role: "search", class: "row", on: { submit: (event) => { event.preventDefault(); go("history", undefined, given({ ...asked, page: "", q: search.value.trim() })); } } },
    h("div", { class: "grow" }, search),
    submitButton(),
  );
  main.append(h("div", { class: "head" }, h("h1", {}, T.title)), form, filters(asked), list);
  await show(list, () => (asked.q ? hits(session.api, asked, signal) : feed(session.api, asked, signal)));
}

function submitButton() {
  const made = button(T.submit, { name: "search" });
  made.type = "submit";
  return made;
}

function filters(asked) {
  const change = (more) => go("history", undefined, given({ ...asked, page: "", ...more }));
  const since = dateInput(asked.since, (value) => change({ since: value }));
  const until = dateInput(asked.until, (value) => change({ until: value }));
  return h(
    "div",
    { class: "filters" },
    choices(T.type, Object.entries(T.types), asked.type ?? "", (type) => change({ type })),
    field(T.since, since),
    field(T.until, until),
  );
}

/** A date. One that is typed counts when the keyboard leaves it or at Enter, as each digit makes another date. */
function dateInput(value = "", onDate) {
  let typing = false;
  const made = h("input", { type: "date", value });
  const take = () => made.value !== value && onDate(made.value);
  made.addEventListener("keydown", (event) => (event.key === "Enter" ? take() : (typing = true)));
  made.addEventListener("change", () => typing || take());
  made.addEventListener("blur", take);
  return made;
}

/** What was chosen, as parameters of the API; days are those of the browser. */
function chosen({ type, since, until }) {
  return {
    type,
    since: since && new Date(`${since}T00:00:00`).toISOString(),
    until: until && new Date(`${until}T23:59:59.999`).toISOString(),
  };
}

async function feed(api, asked, signal) {
  const page = Number(asked.page ?? 1);
  const found = await api.get("history", { ...chosen(asked), page, limit: PAGE }, signal);
  if (!found.data.length) return empty("history", T.emptyTitle, T.emptyText, linkButton(T.begin, link("transcribe"), { kind: "main" }));
  return [days(found.data), pager(asked, page, found)];
}

function days(items) {
  const byDay = Map.groupBy(items, (item) => dayName(item.created_at));
  return [...byDay].map(([day, all]) => [h("h2", { class: "feed-day" }, day), h("ul", { class: "feed" }, all.map((item) => h("li", {}, entry(item))))]);
}

const ENTRIES = {
  transcription: (item) =>
    row("transcribe", link("transcripts", item.id), item.filename, item, [
      item.status === "completed" ? duration(item.audio_duration_secs) : S.status[item.status],
      item.num_speakers ? T.speakers(item.num_speakers) : null,
      item.language ? languageName(item.language) : null,
    ]),
  tts: (item) => row("speak", link("renders", item.id), begun(item) || T.rendered, item, [T.spoken(voiceName(item.voice)), duration(item.audio_secs), T.characters(item.chars)]),
  conversation: (item) => row("talk", link("conversations", item.id), item.title ?? T.conversation, item, [item.voice && voiceName(item.voice), ...(item.duration_secs === null ? [T.goingOn] : [duration(item.duration_secs), T.turns(item.turn_count)])]),
};

/** The start of a rendered text. */
function begun({ text_start: text, chars }) {
  return text.length < chars ? `${text.trimEnd()}…` : text.trim();
}

const entry = (item) => ENTRIES[item.object](item);

function row(name, href, title, item, more) {
  return h(
    "a",
    { href },
    icon(name),
    h("strong", { class: "clip" }, title),
    h("span", { class: "time" }, hour(item.created_at)),
    h("span", { class: "more" }, more.filter(Boolean).map(unbroken).join(" · ")),
  );
}

function pager(asked, page, found) {
  const at = (number) => link("history", undefined, given({ ...asked, page: number }));
  const [from, to] = [(page - 1) * PAGE + 1, Math.min(page * PAGE, found.total)];
  return h(
    "div",
    { class: "row row-wide", style: { "margin-top": "1.2rem" } },
    page > 1 ? linkButton(T.newer, at(page - 1), { name: "previous" }) : h("span"),
    h("span", { class: "quiet" }, T.shown(count(from), count(to), count(found.total))),
    found.has_more ? linkButton(T.older, at(page + 1), { name: "next" }) : h("span"),
  );
}

const HITS = {
  transcription: (hit) => ({ name: "transcribe", href: link("transcripts", hit.id, hit.start_secs === null ? undefined : { at: hit.start_secs, said: firstSaid(hit.snippet) }), title: hit.filename, at: hit.start_secs }),
  conversation_turn: (hit) => ({ name: "talk", href: link("conversations", hit.session_id, { turn: hit.id }), title: hit.title ?? T.conversation, who: T.saidBy[hit.role] ?? hit.role, at: hit.start_secs }),
  tts: (hit) => ({ name: "speak", href: link("renders", hit.id), title: T.spoken(voiceName(hit.voice)) }),
};

async function hits(api, asked, signal) {
  let found = await page();
  if (!found.data.length) return empty("search", T.noHits, asked.type || asked.since || asked.until ? T.noHitsFiltered : T.noHitsText);
  const counted = h("p", { class: "feed-count", role: "status" });
  const list = h("ul", { class: "feed" });
  const said = h("div", {});
  const more = button(T.more, { name: "plus", onClick: load });

  function page(cursor) {
    return api.get("history/search", { ...chosen(asked), q: asked.q, order: "time", limit: HITS_PAGE, cursor }, signal);
  }

  function add() {
    const rows = found.data.map((hit) => h("li", {}, hitRow(hit)));
    list.append(...rows);
    const shown = list.childElementCount;
    counted.textContent = found.next_cursor ? T.firstHits(shown) : T.hits(shown);
    return rows;
  }

  /** Adds older matches, and goes to the first of them: the button itself may be gone. */
  async function load() {
    switchOff(more, true);
    said.replaceChildren();
    try {
      found = await page(found.next_cursor);
      const rows = add();
      keep({ hits: list.childElementCount });
      rows[0]?.firstElementChild.focus();
      if (!found.next_cursor) more.remove();
    } catch (error) {
      if (error.name !== "AbortError") said.replaceChildren(problem(error));
    } finally {
      switchOff(more, false);
    }
  }

  add();
  // Back from a match, as many are shown as before.
  while (found.next_cursor && list.childElementCount < (kept().hits ?? 0)) {
    found = await page(found.next_cursor);
    add();
  }
  return [counted, list, said, found.next_cursor ? h("div", { class: "feed-more" }, more) : null];
}

function hitRow(hit) {
  const { name, href, title, at, who } = HITS[hit.object](hit);
  const time = at === null || at === undefined ? null : T.at(clock(at));
  const second = who || time ? h("span", { class: "second" }, [who, time].filter(Boolean).join(" ")) : null;
  return h("a", { href }, icon(name), h("strong", { class: "clip" }, title), h("span", { class: "time" }, moment(hit.created_at)), h("span", { class: "more" }, second, snippet(hit.snippet)));
}

function given(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return kept.length ? Object.fromEntries(kept) : undefined;
}
