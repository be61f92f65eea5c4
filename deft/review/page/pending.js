/** Changes that the server does not have yet, kept in the browser: a closed tab or a crash does not lose them.
 *
 * They lie in IndexedDB under the key of the run. Every tab holds a lock of its own for as long as it lives, so that a
 * new tab takes over the changes of tabs that are gone, and only those.
 */

const STORE = "changes";
const TAB = crypto.randomUUID();
const held = (tab) => `deft-review-${tab}`;

navigator.locks.request(held(TAB), () => new Promise(() => {}));

const database = new Promise((resolve, reject) => {
  const request = indexedDB.open("deft-review", 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "number", autoIncrement: true });
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** Keep a change; returns its number, or null where the browser stores nothing (some private windows). */
export async function keep(run, change) {
  return work("readwrite", (store) => store.add({ ...change, run, tab: TAB })).catch(() => null);
}

export async function forget(number) {
  if (number !== null) await work("readwrite", (store) => store.delete(number)).catch(() => null);
}

/** The changes of a run that tabs left behind, oldest first; they are this tab's from now on. */
export async function adopt(run) {
  const locks = await navigator.locks.query();
  const alive = new Set(locks.held.map(({ name }) => name));
  const found = await work("readonly", (store) => store.getAll()).catch(() => []);
  const orphans = found.filter((change) => change.run === run && !alive.has(held(change.tab)));
  for (const change of orphans) await work("readwrite", (store) => store.put({ ...change, tab: TAB }));
  return orphans;
}

async function work(mode, what) {
  const store = (await database).transaction(STORE, mode).objectStore(STORE);
  return new Promise((resolve, reject) => {
    const request = what(store);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
