// Chooses the theme before the first paint. A file of its own, because the content policy lets no script in the page run.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = () => {
    let chosen = null;
    try {
      chosen = localStorage.getItem("nebula.theme");
    } catch {
      // Storage may be forbidden; then the system decides.
    }
    document.documentElement.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
  };
  dark.addEventListener("change", set);
  addEventListener("storage", set);
  addEventListener("nebula-theme", set);
  set();
})();
