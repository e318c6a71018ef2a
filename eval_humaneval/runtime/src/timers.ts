// Fake timers: time passes only when a test advances it.

interface Timer {
  at: number;
  every: number | null;
  run: () => void;
}

/** Replaces the timers and `Date.now`. `advance` runs the timers due in the next `ms` milliseconds, in order. */
export function fakeTimers(): { advance(ms: number): Promise<void>; pending(): number } {
  const timers = new Map<number, Timer>();
  const immediate = globalThis.setImmediate;
  let now = Date.now();
  let last = 0;

  const start =
    (repeat: boolean) =>
    (run: (...passed: unknown[]) => void, ms = 0, ...passed: unknown[]): number => {
      timers.set(++last, { at: now + ms, every: repeat ? Math.max(ms, 1) : null, run: () => run(...passed) });
      return last;
    };
  const stop = (id: number): boolean => timers.delete(id);
  Object.assign(globalThis, {
    setTimeout: start(false),
    setInterval: start(true),
    clearTimeout: stop,
    clearInterval: stop,
  });
  Date.now = () => now;

  return {
    pending: () => timers.size,
    async advance(ms) {
      const until = now + ms;
      for (;;) {
        const due = [...timers].filter(([, { at }]) => at <= until).sort((a, b) => a[1].at - b[1].at || a[0] - b[0]);
        const next = due[0];
        if (next === undefined) break;
        const [id, timer] = next;
        now = timer.at;
        if (timer.every === null) timers.delete(id);
        else timer.at += timer.every;
        timer.run();
        await new Promise((resolve) => immediate(resolve)); // let promises and Vue's updates run first
      }
      now = until;
    },
  };
}
