/** The state of the server: checked until it is ready, and again after every failure. */

import { getReady, Refused, Unreachable } from "./api";

export type ServerState =
  | { kind: "connecting" | "ready" | "unauthorized" }
  | { kind: "loading" | "failed" | "down"; detail: string };

/** Pause before the next check in each state. */
const PAUSE_MS = { loading: 700, failed: 3000, down: 2000 };

export class ServerWatch {
  state: ServerState = { kind: "connecting" };
  private timer = 0;

  constructor(private readonly changed: (state: ServerState, before: ServerState) => void) {}

  async poll(): Promise<void> {
    window.clearTimeout(this.timer);
    this.set(await serverState());
  }

  /** Sets a state that a request has found, without waiting for the next check. */
  set(state: ServerState): void {
    window.clearTimeout(this.timer);
    if (state.kind === "loading" || state.kind === "failed" || state.kind === "down") {
      this.timer = window.setTimeout(() => void this.poll(), PAUSE_MS[state.kind]);
    }
    const before = this.state;
    this.state = state;
    if (JSON.stringify(state) !== JSON.stringify(before)) this.changed(state, before);
  }
}

async function serverState(): Promise<ServerState> {
  try {
    const { status, detail } = await getReady();
    return status === "ready" ? { kind: "ready" } : { kind: status, detail };
  } catch (error) {
    return stateFrom(error) ?? { kind: "failed", detail: String(error) };
  }
}

/** Returns the server state that an error shows, or null if only the one request failed. */
export function stateFrom(error: unknown): ServerState | null {
  if (error instanceof Unreachable) return { kind: "down", detail: error.message };
  if (error instanceof Refused && error.status === 401) return { kind: "unauthorized" };
  if (error instanceof Refused && error.status === 503) return { kind: "loading", detail: error.message };
  return null;
}
