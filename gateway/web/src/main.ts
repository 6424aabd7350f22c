import { createApp } from "vue";
import App from "./App.vue";
import "./style/theme.css";
import "./style/frame.css";
import "./style/form.css";
import "./style/list.css";
import "./style/peer.css";

createApp(App).mount("#app");
