// Loaded before anything is drawn, so that no page flashes in the other theme.
try {
  document.documentElement.dataset.theme = localStorage.getItem("theme") ?? "auto";
} catch {
  // A browser that keeps nothing follows the system.
}
