"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const label = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
  };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); });
  dark.addEventListener("change", label);
  label();

  const sortBy = (head, index) => {
    const body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => row.cells[index].dataset.key;
    const order = (a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const both = Number(x) - Number(y);
      const sign = Number.isNaN(both) ? x.localeCompare(y) : both;
      return down ? -sign : sign;
    };
    body.append(...[...body.rows].sort(order));
  };
  for (const head of document.querySelectorAll("thead th"))
    head.querySelector("button")?.addEventListener("click", () => sortBy(head, head.cellIndex));

  const source = document.getElementById("figures");
  if (!source) return;
  const { charts, config } = JSON.parse(source.textContent);

  const tip = document.body.appendChild(document.createElement("div"));
  tip.id = "tip";
  const showTip = (handler, event, item, value) => {
    if (value === null || value === undefined || value === "") { tip.style.display = "none"; return; }
    const list = document.createElement("dl");
    for (const [name, text] of Object.entries(value)) {
      if (text === "" || text === "undefined") continue;
      list.appendChild(document.createElement("dt")).textContent = name;
      list.appendChild(document.createElement("dd")).textContent = text;
    }
    tip.replaceChildren(list);
    tip.style.display = "block";
    const { width, height } = tip.getBoundingClientRect();
    const x = event.clientX + 14 + width > innerWidth ? event.clientX - width - 14 : event.clientX + 14;
    const y = event.clientY + 14 + height > innerHeight ? event.clientY - height - 14 : event.clientY + 14;
    tip.style.left = Math.max(4, x) + "px";
    tip.style.top = Math.max(4, y) + "px";
  };
  addEventListener("scroll", () => { tip.style.display = "none"; }, { passive: true });

  const draw = box => vegaEmbed(box, charts[box.dataset.chart], {
    mode: "vega-lite", renderer: "svg", actions: false, tooltip: showTip,
    // names of settings get at most half of a narrow panel
    config: { ...config, axisY: { ...config.axisY, labelLimit: Math.max(100, Math.min(300, box.clientWidth / 2)) } },
  }).then(() => box.classList.add("drawn"));
  Promise.all([...document.querySelectorAll("[data-chart]")].map(draw)).then(() => { root.dataset.drawn = "yes"; });
})();
