import { createApp, type Component } from "vue";
import "./style/tokens.css";
import "./style/base.css";
import "./style/frame.css";
import "./style/form.css";
import "./style/list.css";
import "./style/page.css";
import "./style/peer.css";
import "./style/player.css";

/** Pages for people without an account, by the first word of the path; they get nothing of the console. */
const OUTSIDE: Record<string, () => Promise<{ default: Component }>> = {
  s: () => import("./pages/visitor/Visitor.vue"),
  invite: () => import("./pages/invited/Invite.vue"),
  join: () => import("./pages/join/Join.vue"),
};

async function start() {
  const [, word = ""] = window.location.pathname.split("/");
  const outside = await OUTSIDE[word]?.();
  if (outside) return createApp(outside.default).mount("#app");
  const [{ default: App }, { router }] = await Promise.all([import("./App.vue"), import("./router")]);
  return createApp(App).use(router).mount("#app");
}
void start();
