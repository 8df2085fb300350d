// Runs before the first paint, so that a chosen theme does not flash in the other one.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("dormouse.theme");
  } catch {
    // Storage is denied: the system's theme it is.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
