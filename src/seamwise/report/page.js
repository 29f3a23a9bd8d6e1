// Draws the charts, as wide as the page lets them, in the colours of a light or a dark page.
const charts = JSON.parse(document.getElementById("charts").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");

async function draw() {
  const config = dark.matches ? charts.dark : charts.light;
  for (const [place, spec] of Object.entries(charts.specs)) {
    const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, config };
    await vegaEmbed(`#${place}`, structuredClone(spec), { ...options, tooltip: { theme: dark.matches ? "dark" : "light" } });
  }
}

document.documentElement.classList.add("drawn");
for (const place of Object.keys(charts.specs)) document.getElementById(place).hidden = false;
draw().then(() => {
  document.documentElement.dataset.drawn = "yes";
});
dark.addEventListener("change", draw);
// A chart that was folded away had no width: it looks again when it is opened.
document.addEventListener("toggle", () => window.dispatchEvent(new Event("resize")), true);
