// API keys: created and shown once, listed, revoked.

import { fill, h } from "../core/dom.js";
import { moment } from "../core/format.js";
import { table } from "./chart.js";
import { button, checkbox, confirm, dialog, field, problem, relabel, select, show } from "./controls.js";
import { S } from "../strings.js";

const T = S.access;
const SCOPES = ["transcribe", "speak", "history", "realtime", "operator", "admin"];
const DAY_SECS = 86_400;

export async function keysSection({ api, account }, signal) {
  const body = h("div", {});
  const load = () => show(body, async () => list((await api.get("operator/keys", {}, signal)).keys, api, load), () => create);
  load();
  const create = button(T.newKey, { name: "plus", onClick: () => createKey(api, account, load) });
  return h("section", { class: "card", "aria-label": T.keys }, h("div", { class: "row row-wide" }, h("h2", {}, T.keys), create), body);
}

function list(keys, api, reload) {
  const state = (key) => {
    if (key.revoked_at) return h("span", { class: "tag tag-bad" }, T.revoked);
    return key.expires_at ? T.until(moment(key.expires_at)) : h("span", { class: "tag tag-good" }, T.valid);
  };
  const action = (key) => (key.revoked_at ? null : button(T.revoke, { kind: "quiet", label: T.revokeOf(key.name || key.prefix), onClick: () => revoke(key, api, reload) }));
  return table(T.keys, [
    { head: T.name, cells: keys.map((key) => key.name || S.none) },
    { head: T.account, cells: keys.map((key) => key.account) },
    { head: T.prefix, cells: keys.map((key) => h("code", {}, `${key.prefix}…`)) },
    { head: T.scopes, wide: true, cells: keys.map((key) => key.scopes.map((scope) => T.scopeNames[scope] ?? scope).join(", ")) },
    { head: T.state, cells: keys.map(state) },
    { head: T.used, cells: keys.map((key) => (key.last_used_at ? moment(key.last_used_at) : S.none)) },
    { head: T.action, cells: keys.map(action) },
  ], { stacked: true });
}

function createKey(api, account, reload) {
  const name = h("input", { maxlength: "100", autofocus: true });
  const owner = h("input", { value: account, required: true, maxlength: "64", pattern: "[A-Za-z0-9._\\-]+" });
  const scopes = SCOPES.map((scope) => [scope, checkbox(T.scopeNames[scope], !["operator", "admin"].includes(scope))]);
  const expiry = select(Object.entries(T.expiries), "0");
  const said = h("div", {});
  dialog(T.newKey, (close) => {
    const make = button(T.create, { kind: "main" });
    make.type = "submit";
    const form = h("form", { class: "dialog-body" }, field(T.name, name), field(T.account, owner),
      h("fieldset", { class: "plain" }, h("legend", { class: "label" }, T.scopes), scopes.map(([, { element }]) => element)),
      field(T.expiry, expiry), said, make);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const days = Number(expiry.value);
      try {
        const made = await api.post("operator/keys", {
          name: name.value.trim(),
          account: owner.value.trim(),
          scopes: scopes.filter(([, { box }]) => box.checked).map(([scope]) => scope),
          ...(days ? { expires_in_secs: days * DAY_SECS } : {}),
        });
        showOnce(form, T.keyOnce, made.key, close);
        reload();
      } catch (error) {
        fill(said, problem(error));
      }
    });
    return form;
  });
}

function revoke(key, api, reload) {
  confirm({
    title: T.revokeOf(key.name || key.prefix),
    question: T.revokeText,
    text: T.revoke,
    act: () => api.delete(`operator/keys/${key.id}`),
    onDone: reload,
  });
}

/** Shows a secret that no later answer has in place of a form, selected as a whole when it is clicked. */
export function showOnce(form, text, secret, close) {
  const shown = h("code", { class: "secret", tabindex: "0" }, secret);
  const copy = button(S.copy, { name: "copy", kind: "main", onClick: async () => {
    getSelection().selectAllChildren(shown);
    try {
      await navigator.clipboard.writeText(secret);
      relabel(copy, "check", S.copied);
    } catch {
      relabel(copy, "copy", S.selected); // without https:// the browser lends no clipboard
    }
  } });
  fill(form, h("p", { class: "notice", role: "status" }, text), shown, h("div", { class: "row" }, copy, button(S.close, { onClick: close })));
  copy.focus();
}
