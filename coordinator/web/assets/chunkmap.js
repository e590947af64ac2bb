// The chunk map: a canvas with a cell for each chunk, drawn from one letter a
// chunk. What changes is sent as runs of cells, and only those are drawn again.
// It is a slider for the keyboard and for screen readers: its value is a cell.

const words = {
  d: 'dead', r: 'waiting to retry', w: 'at work', q: 'queued', x: 'left undone',
  j: 'loaded with rejects', l: 'loaded', t: 'replaced', u: 'taken out again',
};

const colours = {
  d: '--dead', r: '--retrying', w: '--working', q: '--queued', x: '--queued',
  j: '--rejects', l: '--loaded', t: '--queued', u: '--queued',
};

// What N goes to.
const attention = 'dr';

export class ChunkMap {
  // canvas has in its data what the first replacement's ordinal is; line is where
  // a cell is described, and open is called with the chunk that is to be shown.
  constructor(canvas, line, open) {
    this.canvas = canvas;
    this.line = line;
    this.open = open;
    this.replacement = BigInt(canvas.dataset.replacement);
    this.width = 1; // chunks that a cell stands for
    this.planned = 0; // chunks; those that follow replace others
    this.cells = '';
    this.at = -1;
    this.dirty = new Set();
    this.pending = 0;
    this.context = canvas.getContext('2d');
    canvas.addEventListener('keydown', (e) => this.key(e));
    canvas.addEventListener('pointermove', (e) => this.hover(e));
    canvas.addEventListener('pointerleave', () => this.describe(this.at));
    canvas.addEventListener('click', (e) => { const i = this.cellAt(e); if (i >= 0) { this.move(i); this.show(); } });
    canvas.addEventListener('focus', () => this.move(this.at < 0 ? 0 : this.at));
    canvas.addEventListener('blur', () => this.touch(this.at));
    this.sizes = new ResizeObserver(() => this.layout());
    this.sizes.observe(canvas.parentElement);
    this.scheme = matchMedia('(prefers-color-scheme: dark)');
    this.scheme.addEventListener('change', () => this.layout());
  }

  // update takes what the server sends: {width, planned, whole, runs: [{at, cells}]}.
  update(u) {
    const before = this.cells.length;
    if (u.whole) this.cells = '';
    this.width = u.width;
    this.planned = u.planned;
    for (const run of u.runs || []) {
      const changed = unpack(run.cells);
      this.cells = this.cells.slice(0, run.at) + changed + this.cells.slice(run.at + changed.length);
      for (let i = 0; i < changed.length; i++) this.dirty.add(run.at + i);
    }
    if (u.whole || this.cells.length !== before) this.layout(); else this.schedule();
    if (this.at >= 0 && document.activeElement !== this.canvas) this.describe(this.at);
  }

  get length() { return this.cells.length; }

  letter(i) { return this.cells[i]; }

  // chunk is the ordinal of the first chunk of a cell.
  chunk(i) {
    const place = i * this.width;
    return place < this.planned ? BigInt(place) : this.replacement + BigInt(place - this.planned);
  }

  // layout chooses the largest cells with which all fit, and draws them.
  layout() {
    const width = this.canvas.parentElement.clientWidth;
    if (!width) return;
    const n = Math.max(this.length, 1);
    let cell = 16;
    const tall = 340;
    while (cell > 5 && Math.ceil(n / Math.floor(width / cell)) * cell > tall) cell--;
    this.cell = cell;
    this.across = Math.max(1, Math.floor(width / cell));
    const height = Math.ceil(n / this.across) * cell + 1;
    const ratio = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.height = `${height}px`;
    }
    const style = getComputedStyle(this.canvas);
    this.colour = {};
    for (const [letter, name] of Object.entries(colours)) this.colour[letter] = style.getPropertyValue(name).trim();
    this.ground = style.getPropertyValue('--surface').trim();
    this.ring = style.getPropertyValue('--text').trim();
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.clearRect(0, 0, width, height);
    this.dirty.clear();
    for (let i = 0; i < this.length; i++) this.draw(i);
    this.canvas.setAttribute('aria-valuemax', String(Math.max(0, this.length - 1)));
  }

  touch(i) {
    if (i >= 0) { this.dirty.add(i); this.schedule(); }
  }

  schedule() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      if (!this.colour) return;
      for (const i of this.dirty) this.draw(i);
      this.dirty.clear();
    });
  }

  // draw draws one cell: each state has a shape of its own.
  draw(i) {
    const g = this.context;
    const s = this.cell;
    const x = (i % this.across) * s;
    const y = Math.floor(i / this.across) * s;
    const w = s - 1;
    const letter = this.letter(i);
    g.clearRect(x, y, s, s);
    g.fillStyle = g.strokeStyle = this.colour[letter] || this.colour.q;
    g.lineWidth = s > 9 ? 1.5 : 1;
    switch (letter) {
      case 'l': // a full square
        g.fillRect(x, y, w, w);
        break;
      case 'j': // a full square with a corner missing
        g.beginPath();
        g.moveTo(x, y); g.lineTo(x + w * 0.4, y); g.lineTo(x + w, y + w * 0.6); g.lineTo(x + w, y + w); g.lineTo(x, y + w);
        g.fill();
        break;
      case 'w': // half full
        g.fillRect(x, y + w / 2, w, w / 2);
        g.strokeRect(x + 0.5, y + 0.5, w - 1, w - 1);
        break;
      case 'r': // a frame with a dot
        g.strokeRect(x + 0.5, y + 0.5, w - 1, w - 1);
        g.fillRect(x + w * 0.35, y + w * 0.35, w * 0.3 + 1, w * 0.3 + 1);
        break;
      case 'd': // a cross
        g.lineWidth = s > 9 ? 2.5 : 1.5;
        g.beginPath();
        g.moveTo(x + 0.5, y + 0.5); g.lineTo(x + w - 0.5, y + w - 0.5);
        g.moveTo(x + w - 0.5, y + 0.5); g.lineTo(x + 0.5, y + w - 0.5);
        g.stroke();
        break;
      case 'x': // a frame
        g.lineWidth = 1;
        g.strokeRect(x + 0.5, y + 0.5, w - 1, w - 1);
        break;
      case 't': // a stroke that lies
        g.fillRect(x, y + w / 2 - 0.5, w, 1);
        break;
      case 'u': // a stroke that stands
        g.fillRect(x + w / 2 - 0.5, y, 1, w);
        break;
      default: // a dot
        g.fillRect(x + w / 2 - 1, y + w / 2 - 1, 2, 2);
    }
    if (i === this.at && document.activeElement === this.canvas) {
      g.strokeStyle = this.ring;
      g.lineWidth = 2;
      g.strokeRect(x + 1, y + 1, w - 2, w - 2);
    }
  }

  cellAt(e) {
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor((e.clientX - box.left) / this.cell);
    if (column < 0 || column >= this.across) return -1;
    const i = Math.floor((e.clientY - box.top) / this.cell) * this.across + column;
    return i >= 0 && i < this.length ? i : -1;
  }

  hover(e) { this.describe(this.cellAt(e)); }

  text(i) {
    const first = this.chunk(i);
    const state = words[this.letter(i)];
    if (this.width === 1) return `Chunk ${first}: ${state}`;
    return `Chunks ${first} to ${first + BigInt(this.width - 1)}: ${state}, at least one of them`;
  }

  describe(i) {
    this.line.textContent = i >= 0 && i < this.length ? this.text(i) : this.line.dataset.hint;
  }

  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || !this.length) return;
    const page = this.across * 10;
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.across, ArrowUp: -this.across,
      PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity,
    };
    if (e.key in steps) {
      this.move(Math.min(Math.max(this.at + steps[e.key], 0), this.length - 1));
    } else if (e.key === 'n') {
      this.next();
    } else if (e.key === 'Enter' || e.key === ' ') {
      this.show();
    } else {
      return;
    }
    e.preventDefault();
  }

  // next moves to the next cell that needs attention, from the first again
  // after the last.
  next() {
    for (let k = 1; k <= this.length; k++) {
      const i = (this.at + k) % this.length;
      if (attention.includes(this.letter(i))) { this.move(i); return; }
    }
  }

  move(i) {
    if (!this.length) return;
    this.touch(this.at);
    this.at = Math.min(i, this.length - 1);
    this.touch(this.at);
    this.canvas.setAttribute('aria-valuenow', String(this.at));
    this.canvas.setAttribute('aria-valuetext', this.text(this.at));
    this.describe(this.at);
  }

  show() { if (this.at >= 0) this.open(this.chunk(this.at)); }
}

// unpack is the inverse of what the server does: a letter, and how many cells
// have it unless it is one.
export function unpack(packed) {
  return packed.replace(/([a-z])(\d+)/g, (_, letter, n) => letter.repeat(Number(n)));
}
