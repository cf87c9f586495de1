"use strict";
// Theme, filter, copy buttons and charts. The tables are in the HTML: without this script only the curves are missing.

const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

function startTheme() {
  const root = document.documentElement, button = document.getElementById("theme");
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const theme = stored() || (dark.matches ? "dark" : "light");
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${theme === "dark" ? "light" : "dark"} colours`);
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", next); } catch { /* a page from a file may have no storage */ }
    if (stored() === next) return show();
    root.dataset.theme = next;
  });
  dark.addEventListener("change", show);
  show();
}

function startFilter() {
  const form = document.getElementById("filter");
  if (!form) return;
  const rows = [...document.querySelectorAll("tr[data-task]")];
  const parts = [...document.querySelectorAll(".task, .card, nav [data-task]")];
  const count = form.querySelector("output");
  const apply = () => {
    const { task, verdict, text } = Object.fromEntries(new FormData(form));
    const words = text.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = (task && row.dataset.task !== task) || (verdict && row.dataset.verdict !== verdict) ||
        (words && !row.textContent.toLowerCase().includes(words));
      shown += !row.hidden && row.closest("#overview") !== null;
    }
    for (const part of parts) part.hidden = Boolean(task) && part.dataset.task !== task;
    for (const item of document.querySelectorAll(".task > .item")) {
      const own = [...item.querySelectorAll("tr[data-task]")];
      item.hidden = Boolean(verdict || words) && !own.some((row) => !row.hidden);
    }
    count.value = `${shown} of ${rows.filter((row) => row.closest("#overview")).length}`;
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

function startLinks() {
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let part = target; part; part = part.parentElement) {
      if (part.tagName === "DETAILS") part.open = true;
      part.hidden = false;
    }
    target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  if (location.hash) open();
  for (const button of document.querySelectorAll(".copy")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      button.textContent = "Copied";
    });
  }
}

const number = (value) => value === null ? "–" : Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-3)
  ? value.toExponential(2) : String(Number(value.toPrecision(4)));

class Chart {
  static ROWS = 8; // shown at first; the colours' number

  constructor(box) {
    const data = JSON.parse(document.getElementById(box.dataset.source).textContent);
    const rows = box.dataset.rows ? JSON.parse(box.dataset.rows) : data.rows;
    Object.assign(this, { box, data, rows, at: null, log: false });
    this.facets = data.facets.map((facet) => facet.chosen);
    const metric = data.facets.findIndex((facet) => facet.name === "metric");
    if (box.dataset.metric && metric >= 0) this.facets[metric] = Number(box.dataset.metric);
    this.of = rows.map((row) => data.rows.indexOf(row));
    this.seeds = [...new Set(data.lines.map((line) => line[2]))].sort((a, b) => a - b);
    this.hiddenRows = new Set();
    this.hiddenSeeds = new Set();
    box.querySelector("noscript")?.remove();
    this.build();
    this.choose();
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  build() {
    const controls = make("div", { class: "controls" });
    this.selects = this.data.facets.map((facet, index) => {
      const select = make("select");
      facet.values.forEach((value, i) => select.append(new Option(value, i)));
      select.value = this.facets[index];
      select.addEventListener("change", () => { this.facets[index] = Number(select.value); this.choose(); });
      if (facet.values.length > 1) controls.append(make("label", {}, `${facet.name} `, select));
      return select;
    });
    const log = make("input", { type: "checkbox" });
    log.addEventListener("change", () => { this.log = log.checked; this.draw(); });
    controls.append(make("label", {}, log, " logarithmic"));
    this.legend = make("div", { class: "keys", role: "group", "aria-label": "Rows" });
    this.seedKeys = make("div", { class: "keys", role: "group", "aria-label": "Seeds" });
    this.plot = make("div", { tabindex: "0", role: "group", "aria-label": `Curves of ${this.box.dataset.label}; arrow keys read values` });
    this.tip = make("div", { class: "tip", hidden: "" });
    this.spoken = make("div", { class: "visually-hidden", "aria-live": "polite" });
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => this.read(null));
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.plot.addEventListener("blur", () => this.read(null));
    this.box.append(controls, this.legend, this.seedKeys, this.plot, this.tip, this.spoken);
  }

  // The lines of the chosen facets; the legend follows them.
  choose() {
    this.lines = this.data.lines.filter((line) => this.of.includes(line[1]) && line[0].every((v, i) => v === this.facets[i]));
    const there = this.rows.filter((_, i) => this.lines.some((line) => line[1] === this.of[i]));
    const names = there.join("\n");
    if (names !== this.names) {
      this.names = names;
      this.hiddenRows = new Set(there.slice(Chart.ROWS).map((row) => this.data.rows.indexOf(row)));
    }
    this.there = there.map((row) => this.data.rows.indexOf(row));
    this.keys();
    this.draw();
  }

  keys() {
    const key = (text, hidden, toggle, swatch) => {
      const button = make("button", { type: "button", "aria-pressed": String(!hidden) }, ...(swatch ? [swatch] : []), text);
      button.addEventListener("click", toggle);
      return button;
    };
    const flip = (set, value, group, index) => () => {
      set.has(value) ? set.delete(value) : set.add(value);
      this.keys();
      this.draw();
      group.querySelectorAll("button")[index].focus();
    };
    const all = (hide) => () => { this.hiddenRows = new Set(hide ? this.there : []); this.keys(); this.draw(); };
    this.legend.replaceChildren(...this.there.map((row, i) => {
      return key(this.data.rows[row], this.hiddenRows.has(row), flip(this.hiddenRows, row, this.legend, i), this.swatch(row));
    }));
    if (this.there.length > 2) {
      for (const [text, hide] of [["all", false], ["none", true]]) {
        const button = make("button", { type: "button" }, text);
        button.addEventListener("click", all(hide));
        this.legend.append(button);
      }
    }
    const seeds = this.seeds.filter((seed) => this.lines.some((line) => line[2] === seed));
    this.seedKeys.replaceChildren(...(seeds.length > 1 ? seeds.map((seed, i) =>
      key(`seed ${seed}`, this.hiddenSeeds.has(seed), flip(this.hiddenSeeds, seed, this.seedKeys, i))) : []));
  }

  colour(row) { return `var(--c${this.there.indexOf(row) % Chart.ROWS})`; }

  // How often the colours have been used up: those lines are dashed.
  round(row) { return Math.floor(this.there.indexOf(row) / Chart.ROWS) % 4; }

  swatch(row) {
    const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.borderTop = `3px ${["solid", "dashed", "dotted", "double"][this.round(row)]} ${this.colour(row)}`;
    return swatch;
  }

  shown() {
    return this.lines.filter((line) => !this.hiddenRows.has(line[1]) && !this.hiddenSeeds.has(line[2]));
  }

  // Rows with their lines' points by x, and the mean over the seeds where every one of them has a value.
  groups() {
    return this.there.filter((row) => !this.hiddenRows.has(row)).map((row) => {
      const lines = this.shown().filter((line) => line[1] === row);
      const byX = new Map();
      for (const line of lines) {
        this.data.xs[line[3]].forEach((x, i) => {
          if (this.usable(line[4][i])) byX.set(x, [...(byX.get(x) || []), [line[2], line[4][i]]]);
        });
      }
      const full = [...byX].filter(([, values]) => values.length === lines.length).sort((a, b) => a[0] - b[0]);
      const mean = full.map(([x, values]) => [x, values.reduce((sum, [, y]) => sum + y, 0) / values.length]);
      return { row, lines, byX, mean, colour: this.colour(row), dash: ["", "6 3", "2 3", "9 3 2 3"][this.round(row)] };
    });
  }

  usable(y) { return y !== null && y !== undefined && (!this.log || y > 0); }

  draw() {
    const width = Math.max(280, this.plot.clientWidth), height = Math.min(380, Math.max(240, width * .5));
    const left = 62, right = width - 10, top = 10, bottom = height - 36;
    const groups = this.groups();
    const points = groups.flatMap((group) => [...group.byX].flatMap(([x, values]) => values.map(([, y]) => [x, y])));
    if (!points.length) {
      this.plot.innerHTML = "<p class=\"note\">Nothing to show: choose a row and a seed" + (this.log ? ", or leave the logarithmic scale" : "") + ".</p>";
      return;
    }
    const range = (values) => values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
    const [x0, x1] = range(points.map((point) => point[0]));
    let [y0, y1] = range(points.map((point) => point[1]));
    const to = this.log ? Math.log10 : (v) => v;
    let [low, high] = [to(y0), to(y1)];
    const pad = (high - low) * .05 || Math.abs(high) * .1 || 1;
    low -= pad; high += pad;
    this.toX = (x) => left + (x1 > x0 ? (x - x0) / (x1 - x0) : .5) * (right - left);
    const toY = (y) => bottom - (to(y) - low) / (high - low) * (bottom - top);
    this.all = [...new Set(points.map((point) => point[0]))].sort((a, b) => a - b);
    const path = (list) => list.map(([x, y], i) => `${i ? "L" : "M"}${this.toX(x).toFixed(1)} ${toY(y).toFixed(1)}`).join("");
    const grid = Chart.ticks(low, high, this.log).map(([at, text]) => {
      const y = bottom - (at - low) / (high - low) * (bottom - top);
      return `<line class="grid" x1="${left}" x2="${right}" y1="${y}" y2="${y}"/><text x="${left - 6}" y="${y + 4}" text-anchor="end">${text}</text>`;
    }).join("") + Chart.ticks(x0, x1, false).map(([at, text]) =>
      `<text x="${this.toX(at)}" y="${bottom + 17}" text-anchor="middle">${text}</text>`).join("");
    const curves = groups.map((group) => {
      const style = (width, opacity) => `fill="none" stroke="${group.colour}" stroke-width="${width}" stroke-opacity="${opacity}" stroke-dasharray="${group.dash}"`;
      const many = group.lines.length > 1;
      const thin = group.lines.map((line) => {
        const list = this.data.xs[line[3]].map((x, i) => [x, line[4][i]]).filter(([, y]) => this.usable(y));
        return `<path d="${path(list)}" ${style(many ? 1 : 2, many ? .4 : 1)}/>`;
      }).join("");
      return thin + (many ? `<path d="${path(group.mean)}" ${style(2.2, 1)}/>` : "");
    }).join("");
    const name = document.createElement("span");
    name.textContent = this.data.x;
    const said = make("span", {}, `${groups.length} rows by ${this.data.x}`);
    this.plot.innerHTML = `<svg viewBox="0 0 ${width} ${height}" height="${height}" role="img"><title>${said.innerHTML}</title>${grid}${curves}` +
      `<text x="${(left + right) / 2}" y="${height - 4}" text-anchor="middle">${name.innerHTML}</text>` +
      `<line class="cursor" y1="${top}" y2="${bottom}" visibility="hidden"/></svg>`;
    this.view = { width, groups };
    this.read(null);
  }

  static ticks(low, high, log) {
    if (log) {
      const first = Math.ceil(low), last = Math.floor(high), step = Math.max(1, Math.ceil((last - first) / 6));
      const powers = [];
      for (let power = first; power <= last; power += step) powers.push([power, number(10 ** power)]);
      if (powers.length > 1) return powers;
      return [0, .5, 1].map((part) => low + part * (high - low)).map((at) => [at, number(10 ** at)]);
    }
    const raw = (high - low || 1) / 5, unit = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((factor) => factor * unit >= raw) * unit;
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push([i * step, number(Number((i * step).toPrecision(12)))]);
    return found;
  }

  point(event) {
    if (!this.view) return;
    const box = this.plot.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * this.view.width;
    const near = this.all.reduce((best, at) => Math.abs(this.toX(at) - x) < Math.abs(this.toX(best) - x) ? at : best);
    this.read(near);
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity, Escape: 0 }[event.key];
    if (step === undefined || !this.view) return;
    event.preventDefault();
    if (step === 0) return this.read(null);
    const now = this.at === null ? (step > 0 ? -1 : this.all.length) : this.all.indexOf(this.at);
    this.read(this.all[Math.max(0, Math.min(this.all.length - 1, now + step))]);
    this.spoken.textContent = this.tip.innerText;
  }

  // Shows the values at x beside a line; null hides them.
  read(x) {
    this.at = x;
    const cursor = this.plot.querySelector(".cursor");
    this.tip.hidden = x === null;
    cursor?.setAttribute("visibility", x === null ? "hidden" : "visible");
    if (x === null || !cursor) return;
    const at = this.toX(x);
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    const lines = this.view.groups.filter((group) => group.byX.has(x)).map((group) => {
      const values = group.byX.get(x), mean = values.reduce((sum, [, y]) => sum + y, 0) / values.length;
      const seeds = values.length > 1 ? ` (${values.map(([seed, y]) => `${seed}: ${number(y)}`).join(", ")})` : "";
      return [mean, make("div", {}, this.swatch(group.row), `${this.data.rows[group.row]}: ${number(mean)}${seeds}`)];
    }).sort((a, b) => b[0] - a[0]).map(([, line]) => line);
    this.tip.replaceChildren(make("strong", {}, `${this.data.x} ${number(x)}`), ...lines);
    const share = at / this.view.width;
    this.tip.style.top = `${this.plot.offsetTop + 12}px`;
    this.tip.style.left = share < .5 ? `${share * 100 + 2}%` : "auto";
    this.tip.style.right = share < .5 ? "auto" : `${(1 - share) * 100 + 2}%`;
  }
}

function startCharts() {
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      new Chart(entry.target);
    }
  }, { rootMargin: "300px" });
  for (const box of document.querySelectorAll(".chart")) seen.observe(box);
}

startTheme();
startFilter();
startLinks();
startCharts();
