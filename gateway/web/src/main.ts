import { createApp } from "vue";
import "./style/theme.css";
import "./style/frame.css";
import "./style/form.css";
import "./style/list.css";
import "./style/peer.css";
import "./style/player.css";

// A visitor of a share link has no account, and gets that page and nothing of the console.
const page = window.location.pathname.startsWith("/s/") ? import("./pages/visitor/Visitor.vue") : import("./App.vue");
void page.then(({ default: shown }) => createApp(shown).mount("#app"));
