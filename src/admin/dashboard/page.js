// The page's life: it asks, shows, and carries out orders.

const TOKEN = 'lakh-admin-token';
const STREAM = 100;
const moments = [];
let [before, status, written, certificates, caches] = [null, null, {}, [], []];
let [requests, after, paused] = [[], 0, false];

class Refused extends Error {}

async function ask(path, order) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const asking = order
    ? { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(order) }
    : { headers };
  const answer = await fetch(path, asking);
  if (answer.status === 401) {
    at('token').hidden = false;
    throw new Refused('the admin token is missing or wrong');
  }
  at('token').hidden = true;
  const type = answer.headers.get('content-type') ?? '';
  const said = type.includes('json') ? await answer.json() : await answer.text();
  if (!answer.ok) throw new Refused(said.detail ?? answer.statusText);
  return said;
}

/** Of an order it stands until the next one, of a look until one that succeeds. */
const notices = { order: '', look: '' };

function notice(of, text) {
  notices[of] = text;
  at('notice').textContent = Object.values(notices).filter(Boolean).join(' ');
  at('notice').hidden = !at('notice').textContent;
}

/** An order, then a fresh look at what it has changed. */
async function order(path, body) {
  try {
    const said = await ask(path, body);
    notice('order', '');
    Promise.all([lookOften(), lookSeldom()]).catch(() => {});
    return said;
  } catch (error) {
    notice('order', `Not done: ${error.message}`);
    return null;
  }
}

const routesOf = (config) => (Array.isArray(config.routes) ? config.routes : []);

async function lookOften() {
  const [text, { upstreams }] = await Promise.all([ask('/metrics'), ask('/api/v1/upstreams')]);
  const now = new Sample(parseMetrics(text), performance.now());
  if (!before || now.time - before.time > 200) {
    // The first time there is nothing to compare with: the map stands, and nothing has moved.
    const interval = new Interval(before ?? now, now);
    if (before) moments.push(traffic(interval));
    if (moments.length > MOMENTS) moments.shift();
    if (moments.length) showTiles(moments);
    showListeners(status?.listeners ?? [], interval);
    showRoutes(routesOf(written), interval);
    showUpstreams(upstreams, interval, drain);
    drawWires(status?.listeners ?? [], routesOf(written));
    showZones(caches, interval);
  }
  before = now;
}

async function lookSeldom() {
  const paths = ['status', 'config', 'certificates', 'cache', 'limits', 'images'];
  const [s, c, t, z, l, i] = await Promise.all(paths.map((path) => ask(`/api/v1/${path}`)));
  [status, written, certificates, caches] = [s, c, t.certificates, z.caches];
  showChips(status, false);
  showLimits(l, (address) => order('/api/v1/bans/add', { address, seconds: 600 }), (address) => order('/api/v1/bans/lift', { address }));
  if (before) {
    showImages(i.items, before);
    showConfig(status, before, written, certificates);
  }
  if (at('top').closest('details').open) showTop((await ask('/api/v1/cache/top?limit=20')).objects);
}

async function lookAtRequests() {
  if (paused) return;
  const failures = at('failures').checked;
  const said = await ask(failures ? '/api/v1/errors' : `/api/v1/requests?after=${after}`);
  if (failures) requests = said.items.reverse();
  // A smaller number than before: the edge was restarted.
  else requests = (said.next < after ? said.items : [...said.items.reverse(), ...requests]).slice(0, 10 * STREAM);
  if (!failures) after = said.next;
  filterRequests();
}

function filterRequests() {
  const words = at('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (request) => {
    const text = JSON.stringify(Object.values(request)).toLowerCase();
    return words.every((word) => text.includes(word));
  };
  showStream(requests.filter(fits).slice(0, STREAM));
}

const drain = (upstream, server, draining) => order(`/api/v1/servers/${draining ? 'drain' : 'undrain'}`, { upstream, server });

// What is under somebody's finger, or marked to be copied, must not be put anew.
let pressed = false;
window.addEventListener('pointerdown', () => { pressed = true; });
for (const end of ['pointerup', 'pointercancel']) window.addEventListener(end, () => setTimeout(() => { pressed = false; }));
const isHeld = () => document.hidden || pressed || !getSelection().isCollapsed;

/** Every `pause` milliseconds, or as seldom as takes a tenth of the time; not while nobody can see it. */
function keepLooking(look, pause) {
  const again = async () => {
    const began = performance.now();
    if (!isHeld()) {
      try {
        await look();
        notice('look', '');
      } catch (error) {
        const isOutOfReach = !(error instanceof Refused);
        if (isOutOfReach && status) showChips(status, true);
        notice('look', isOutOfReach ? 'The edge does not answer.' : error.message);
      }
    }
    setTimeout(again, Math.max(pause, 9 * (performance.now() - began)));
  };
  again();
}

at('token').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, at('token-text').value.trim());
  at('token-text').value = '';
  order('/api/v1/validate', {});
});

at('purge').addEventListener('submit', async (event) => {
  event.preventDefault();
  const name = at('purge-name').value;
  const purged = await order('/api/v1/cache/purge', { [at('purge-what').value]: name, soft: at('purge-soft').checked });
  if (purged && at('purge-name').value === name) at('purge-name').value = '';
});

async function showChanges(path) {
  const said = await order(path, {});
  at('changes').hidden = !said;
  if (said) at('changes').textContent = JSON.stringify(said, null, 2);
}

at('validate').addEventListener('click', () => showChanges('/api/v1/validate'));
at('reload').addEventListener('click', () => showChanges('/api/v1/reload'));
at('pause').addEventListener('click', () => {
  paused = !paused;
  at('pause').setAttribute('aria-pressed', String(paused));
  at('pause').textContent = paused ? 'Go on' : 'Pause';
});
at('filter').addEventListener('input', filterRequests);
at('failures').addEventListener('change', () => { [requests, after] = [[], 0]; lookAtRequests(); });
window.addEventListener('resize', () => drawWires(status?.listeners ?? [], routesOf(written)));

keepLooking(lookOften, 1000);
keepLooking(lookSeldom, 5000);
keepLooking(lookAtRequests, 1000);
