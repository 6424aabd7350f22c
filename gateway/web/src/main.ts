import { createApp } from "vue";
import App from "./App.vue";
import "./style/theme.css";
import "./style/frame.css";
import "./style/form.css";
import "./style/list.css";

createApp(App).mount("#app");
