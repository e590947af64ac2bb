// When a page is live. Over HTTP/1.1 a browser opens six connections to a host
// at most, for all its windows and tabs together, and a stream holds one of them
// for as long as it lasts: with six streams no page would load any more. So a
// page that nobody sees has none, and of those that are seen only a few have one.

// places is how many windows of a browser are live at once.
const places = 4;

// again is how long a page that got no stream waits until it tries again, in ms.
const again = 3000;

// take takes a place, and returns what gives it back; null when none is free. A
// page that is closed gives its place back by itself. Later versions of HTTP
// carry many streams on one connection; and where a browser has no locks, over
// plain HTTP to another machine, a place is always free.
async function take() {
  const [page] = performance.getEntriesByType('navigation');
  if (!navigator.locks || page?.nextHopProtocol !== 'http/1.1') return () => {};
  for (let n = 0; n < places; n++) {
    const back = await new Promise((taken) => { // a lock is held until what taken is given is called
      navigator.locks.request(`live ${n}`, { ifAvailable: true }, (lock) => (lock ? new Promise(taken) : taken(null)));
    });
    if (back) return back;
  }
  return null;
}

// follow keeps a page live while it is seen: element has the stream of what
// changes, and status says how it stands.
export function follow(element, status) {
  let place = null;
  let asking = false;
  let complete = false;

  function say(state, text) {
    status.dataset.live = state;
    if (status.textContent !== text) status.textContent = text;
  }

  function leave() {
    place?.();
    place = null;
  }

  async function start() {
    if (document.hidden || complete || asking || place) return;
    asking = true;
    place = await take();
    asking = false;
    if (document.hidden) {
      leave();
    } else if (place) {
      htmx.trigger(element, 'follow'); // does nothing to a stream that goes on
    } else {
      say('', 'Other windows are live, this one waits');
      setTimeout(start, again);
    }
  }

  // The extension rests while the page is hidden, but not where it was hidden
  // before the stream began.
  element.addEventListener('htmx:sse:before:connection', (e) => {
    if (!place) e.preventDefault();
  });
  element.addEventListener('htmx:sse:after:connection', (e) => {
    if (place) say('on', 'Live'); else e.detail.connection.abortController.abort();
  });
  element.addEventListener('htmx:sse:error', () => say('off', 'Not connected, trying again'));
  element.addEventListener('htmx:sse:close', (e) => {
    if (e.detail.reason !== 'message') return;
    complete = true;
    leave();
    say('', 'Complete');
  });
  for (const failed of ['htmx:error', 'htmx:response:error']) { // the first connection: later ones are the extension's
    element.addEventListener(failed, () => {
      leave();
      say('off', 'Not connected, trying again');
      setTimeout(start, again);
    });
  }
  document.addEventListener('visibilitychange', () => { if (document.hidden) leave(); else start(); });
  // htmx looks at the page when all of it is there, and before this.
  document.addEventListener('DOMContentLoaded', start);
}
