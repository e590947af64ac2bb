// What the page does beyond its HTML, all of which works without it: the chunk
// map, the chart, confirmations in place, and whether the page is live.
import { ChunkMap } from './chunkmap.js';
import { follow } from './live.js';
import { Throughput } from './throughput.js';

const live = document.getElementById('live');
if (live) follow(live, document.getElementById('live-status'));

const canvas = document.querySelector('canvas[data-cells]');
if (canvas) {
  const url = canvas.dataset.chunks;
  const map = new ChunkMap(canvas, document.getElementById('map-line'), (chunk) => {
    htmx.ajax('GET', `${url}/${chunk}`, { target: '#chunk', select: '#chunk', swap: 'outerHTML' })
      .then(() => document.getElementById('chunk')?.focus());
  });
  map.update({ ...JSON.parse(canvas.dataset.cells), whole: true });
  live?.addEventListener('cells', (e) => map.update(JSON.parse(e.detail.data)));
}

const chart = document.querySelector('[data-throughput]');
if (chart) {
  const plot = new Throughput(chart, JSON.parse(chart.dataset.throughput));
  live?.addEventListener('throughput', (e) => plot.update(JSON.parse(e.detail.data)));
}

// A link that asks before something is done opens the page that asks in a
// dialog. Closing it puts the focus back.
const dialog = document.getElementById('dialog');
document.addEventListener('click', async (e) => {
  const link = e.target.closest?.('a[data-dialog]');
  if (!link || !dialog || e.ctrlKey || e.metaKey || e.shiftKey) return;
  e.preventDefault();
  await htmx.ajax('GET', link.href, { target: dialog, select: '#question', swap: 'innerHTML' });
  if (!dialog.open) dialog.showModal();
});
dialog?.addEventListener('click', (e) => {
  if (e.target === dialog || e.target.closest('[data-close]')) { e.preventDefault(); dialog.close(); }
});

// A checkbox in the head of a table checks all of its column.
document.addEventListener('change', (e) => {
  const name = e.target.dataset?.checks;
  if (!name) return;
  for (const box of document.querySelectorAll(`input[type=checkbox][name="${CSS.escape(name)}"]`)) box.checked = e.target.checked;
});

// A filter takes effect as it is chosen.
document.addEventListener('change', (e) => {
  if (e.target.matches?.('form.filter[method=get] select')) e.target.form.requestSubmit();
});
