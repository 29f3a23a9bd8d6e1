// Draws the panels, as wide as the page lets them, in the colours of a light or a dark page.
const charts = JSON.parse(document.getElementById("charts").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");

async function draw() {
  const config = dark.matches ? charts.dark : charts.light;
  for (const [i, spec] of charts.specs.entries()) {
    const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, config };
    await vegaEmbed(`#panel-${i}`, structuredClone(spec), { ...options, tooltip: { theme: dark.matches ? "dark" : "light" } });
  }
}

document.getElementById("live").hidden = false;
draw().then(() => {
  document.getElementById("still").hidden = true;
  document.documentElement.dataset.drawn = "yes";
});
dark.addEventListener("change", draw);
