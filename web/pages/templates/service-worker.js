// The wallet without a network: one page that says so, with the last balance seen. No other page is ever kept.

const KEPT = {{ (["/offline"] + kept)|tojson }};
const CACHE = "obole-{{ version }}";

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(CACHE)
      .then((cache) => cache.addAll(KEPT.map((path) => new Request(path, { cache: "reload" }))))
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const path = new URL(request.url).pathname;
  if (request.mode === "navigate" && request.method === "GET") {
    event.respondWith(fetch(request).catch(() => caches.match("/offline", { ignoreVary: true })));
  } else if (KEPT.includes(path) && path !== "/offline") {
    event.respondWith(fetch(request).catch(() => caches.match(path, { ignoreVary: true })));
  }
});
