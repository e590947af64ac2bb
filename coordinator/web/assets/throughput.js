// The throughput of a job over time, drawn by uPlot.

const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

// clock writes a time of an axis, with the day where the axis is longer than one.
function clock(at, ticks) {
  const text = new Date(at * 1000).toISOString();
  return ticks[ticks.length - 1] - ticks[0] > 86400 ? text.slice(5, 16).replace('T', ' ') : text.slice(11, 19);
}

export class Throughput {
  constructor(root, series) {
    this.root = root;
    this.take(series);
    this.draw();
    new ResizeObserver(() => this.plot && this.plot.setSize(this.size())).observe(root);
    // Colours are read when a chart is made.
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
  }

  // take keeps what the server sends: {start, span, rows: [...]}, in seconds and
  // rows a second; with from, only what follows from there.
  take(s) {
    this.start = s.start;
    this.span = s.span;
    this.rows = s.from ? this.rows.slice(0, s.from).concat(s.rows) : s.rows;
  }

  update(s) {
    this.take(s);
    if (this.plot) this.plot.setData(this.data()); else this.draw();
  }

  data() {
    return [this.rows.map((_, i) => this.start + i * this.span), this.rows];
  }

  size() { return { width: Math.max(240, this.root.clientWidth), height: 190 }; }

  draw() {
    if (this.plot) this.plot.destroy();
    this.plot = null;
    if (!this.rows.length) return;
    this.root.replaceChildren();
    const style = getComputedStyle(this.root);
    const of = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: of('--muted'), grid: { stroke: of('--line'), width: 1 }, ticks: { stroke: of('--line'), width: 1 }, font: '12px system-ui, sans-serif' };
    this.plot = new uPlot({
      ...this.size(),
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), 'UTC'),
      cursor: { drag: { x: true, y: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.08)] } },
      axes: [{ ...axis, space: 80, values: (_, ticks) => ticks.map((at) => clock(at, ticks)) }, { ...axis, size: 56, values: (_, ticks) => ticks.map((v) => short.format(v)) }],
      series: [
        { label: 'UTC', value: (_, at) => (at == null ? '–' : new Date(at * 1000).toISOString().slice(11, 19)) },
        {
          label: 'rows/s', stroke: of('--working'), width: 1.5, fill: `${of('--working')}29`,
          points: { show: this.rows.length < 2 }, paths: uPlot.paths.stepped({ align: 1 }),
          value: (_, v) => (v == null ? '–' : short.format(v)),
        },
      ],
    }, this.data(), this.root);
  }
}
