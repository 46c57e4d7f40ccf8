// Functions that the model may call in this page. Each runs over the public API, with the rights of whoever is signed in.

import { S } from "../strings.js";

const T = S.tools;

export const TOOLS = {
  current_time: {
    description: T.currentTime,
    parameters: { type: "object", properties: {} },
    run: async () => new Date().toString(),
  },
  search_history: {
    description: T.searchHistory,
    parameters: { type: "object", properties: { query: { type: "string", description: T.query } }, required: ["query"] },
    run: async (api, { query }) => {
      const found = await api.get("history/search", { q: query, limit: 5 });
      const lines = found.data.map((hit) => `${hit.created_at.slice(0, 10)} ${hit.filename ?? hit.object}: ${hit.snippet.replace(/<\/?mark>/g, "")}`);
      return lines.join("\n") || T.nothing;
    },
  },
};

/** Their descriptions as the session's `tools`. */
export const described = () => Object.entries(TOOLS).map(([name, { description, parameters }]) => ({ type: "function", name, description, parameters }));

/** The result of a call as text; what goes wrong is the result too, so that the model can say it. */
export async function run(api, { name, arguments: given }) {
  try {
    return await TOOLS[name].run(api, JSON.parse(given));
  } catch (error) {
    return T.failed(error.message);
  }
}
