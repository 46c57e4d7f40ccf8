// Keys and webhooks, for who may manage them.

import { h } from "../core/dom.js";
import { keysSection } from "../parts/keys.js";
import { webhooksSection } from "../parts/webhooks.js";
import { S } from "../strings.js";

export async function render(main, { session, signal }) {
  main.append(h("h1", {}, S.access.title));
  main.append(session.may("admin") ? await keysSection(session, signal) : h("p", { class: "quiet" }, S.access.noKeys));
  if (session.may("history")) main.append(await webhooksSection(session.api, signal));
}
