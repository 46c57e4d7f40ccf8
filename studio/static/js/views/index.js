// Every view by its name in the address. Those of the menu need one of their `scopes`. The modules of views are loaded ahead, see main.js.

import { S } from "../strings.js";

export const VIEWS = {
  transcribe: { title: S.transcribe.title, icon: "transcribe", inMenu: true, scopes: ["transcribe"], load: () => import("./transcribe.js") },
  speak: { title: S.speak.title, icon: "speak", inMenu: true, scopes: ["speak"], load: () => import("./speak.js") },
  talk: { title: S.talk.title, icon: "talk", inMenu: true, scopes: ["realtime"], load: () => import("./talk.js") },
  history: { title: S.history.title, icon: "history", inMenu: true, scopes: ["history"], load: () => import("./history.js") },
  usage: { title: S.usage.title, icon: "usage", inMenu: true, scopes: ["history"], load: () => import("./usage.js") },
  access: { title: S.access.title, menu: S.access.menu, icon: "keys", inMenu: true, scopes: ["admin", "history"], load: () => import("./access.js") },
  conversations: { title: S.history.conversation, under: "history", load: () => import("./conversation.js") },
  renders: { title: S.history.types.tts, under: "history", load: () => import("./render.js") },
  transcripts: { title: S.transcript.title, under: "history", load: () => import("./transcript.js") },
};
