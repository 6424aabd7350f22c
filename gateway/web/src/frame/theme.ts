const KEY = "nebula.theme";
export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

/** public/theme.js reads it before the first paint, and again at this event. */
export const theme = {
  get chosen(): Theme {
    return THEMES.find((one) => one === localStorage.getItem(KEY)) ?? "system";
  },
  set chosen(chosen: Theme) {
    if (chosen === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, chosen);
    window.dispatchEvent(new Event("nebula-theme"));
  },
};
