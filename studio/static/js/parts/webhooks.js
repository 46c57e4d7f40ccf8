// Webhooks: created, tested, deleted; their deliveries listed and sent again.

import { fill, h } from "../core/dom.js";
import { moment } from "../core/format.js";
import { table } from "./chart.js";
import { button, confirm, dialog, field, problem, show, toast } from "./controls.js";
import { showOnce } from "./keys.js";
import { S } from "../strings.js";

const T = S.access;

export async function webhooksSection(api, signal) {
  const body = h("div", {});
  const load = () => show(body, async () => list((await api.get("v1/webhooks", {}, signal)).data, api, load, signal), () => create);
  load();
  const create = button(T.newWebhook, { name: "plus", onClick: () => createWebhook(api, load) });
  return h("section", { class: "card", "aria-label": T.webhooks }, h("div", { class: "row row-wide" }, h("h2", {}, T.webhooks), create), body);
}

function list(webhooks, api, reload, signal) {
  if (!webhooks.length) return h("p", { class: "quiet" }, T.noWebhooks);
  const actions = (one) =>
    h(
      "div",
      { class: "row" },
      button(T.deliveries, { kind: "quiet", label: T.deliveriesOf(one.url), onClick: () => showDeliveries(one, api, signal) }),
      button(T.test, { kind: "quiet", label: T.testOf(one.url), onClick: () => api.post(`v1/webhooks/${one.id}/test`).then(() => toast(T.tested), (error) => toast(error.message)) }),
      button(S.remove, { kind: "quiet", label: T.removeOf(one.url), onClick: () => remove(one, api, reload) }),
    );
  return table(T.webhooks, [
    { head: T.url, cells: webhooks.map((one) => one.url) },
    { head: T.events, wide: true, cells: webhooks.map((one) => one.events.join(", ")) },
    { head: T.state, cells: webhooks.map((one) => (one.disabled_at ? h("span", { class: "tag tag-bad" }, one.disabled_reason ?? T.disabled) : h("span", { class: "tag tag-good" }, T.valid))) },
    { head: T.action, cells: webhooks.map(actions) },
  ], { stacked: true });
}

function createWebhook(api, reload) {
  const url = h("input", { type: "url", required: true, placeholder: "https://", autofocus: true });
  const said = h("div", {});
  dialog(T.newWebhook, (close) => {
    const make = button(T.create, { kind: "main" });
    make.type = "submit";
    const form = h("form", { class: "dialog-body" }, field(T.url, url, T.urlHelp), said, make);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        const made = await api.post("v1/webhooks", { url: url.value.trim() });
        showOnce(form, T.secretOnce, made.secret, close);
        reload();
      } catch (error) {
        fill(said, problem(error));
      }
    });
    return form;
  });
}

function remove(one, api, reload) {
  confirm({
    title: T.removeOf(one.url),
    question: T.removeWebhookText,
    text: S.remove,
    act: () => api.delete(`v1/webhooks/${one.id}`),
    onDone: reload,
  });
}

function showDeliveries(one, api, signal) {
  const body = h("div", {});
  const load = () => show(body, async () => {
    const { data } = await api.get(`v1/webhooks/${one.id}/deliveries`, {}, signal);
    if (!data.length) return h("p", { class: "quiet" }, T.noDeliveries);
    const again = (delivery) => button(T.replay, { kind: "quiet", label: T.replayOf(delivery.type), onClick: () => api.post(`v1/webhooks/${one.id}/deliveries/${delivery.id}/replay`).then(load, (error) => toast(error.message)) });
    return table(T.deliveries, [
      { head: T.event, cells: data.map((delivery) => delivery.type) },
      { head: T.state, cells: data.map((delivery) => `${delivery.status} ${delivery.response_status ?? delivery.error ?? ""}`) },
      { head: T.attempts, number: true, cells: data.map((delivery) => String(delivery.attempts)) },
      { head: T.changed, cells: data.map((delivery) => moment(delivery.updated_at)) },
      { head: T.action, cells: data.map(again) },
    ], { stacked: true });
  });
  dialog(T.deliveriesOf(one.url), () => body);
  load();
}
