// Who is signed in. The key stays in this closure, in memory, only to make the next token; requests carry tokens.

import { Api } from "./api.js";

const TOKEN_SECS = 900;
const RENEW_BEFORE_SECS = 120;
const LONGEST_SECS = 3600;

/**
 * A signed-in user: `api`, `account`, `scopes`; `kept`, what views keep while others are shown; `signal`, aborted by `end()`.
 * Throws ApiError for a key that is refused.
 */
export async function signIn(key) {
  const plain = new Api(async () => key);
  const { account, scopes, is_key: isKey } = await plain.get("v1/account");
  // A token that somebody else made can't make others; it is used while it lives.
  const token = isKey ? renewed(plain, scopes) : async () => key;
  await token();
  const ending = new AbortController();
  return { api: new Api(token), account, scopes, may: (scope) => scopes.includes(scope), kept: new Map(), signal: ending.signal, end: () => ending.abort() };
}

function renewed(plain, scopes) {
  let current = null;
  let endsAt = 0;
  let underWay = null;

  const made = (seconds) => plain.post("v1/tokens", { scopes, seconds });

  async function renew() {
    const { token, expires_at: expiresAt } = await made(TOKEN_SECS);
    current = token;
    endsAt = Date.parse(expiresAt);
  }

  return async function token({ forSocket = false } = {}) {
    // A socket ends with its token. A server may allow shorter ones only.
    if (forSocket) return (await made(LONGEST_SECS).catch(() => made(TOKEN_SECS))).token;
    if (Date.now() > endsAt - RENEW_BEFORE_SECS * 1000) {
      underWay ??= renew().finally(() => (underWay = null));
      await underWay;
    }
    return current;
  };
}
