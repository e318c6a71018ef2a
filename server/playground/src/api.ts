/** Every request from the page to the server. The types are the server's own (see `make web`). */

import type { CompletionRequest, CompletionResponse, ErrorResponse, ModelCard, ModelList, Ready, Trail } from "./protocol";

type PlaygroundRequest = Pick<CompletionRequest, "prompt" | "suffix" | "language" | "path" | "max_tokens">;

/** The server refused the request. `message` is the server's sentence, which says what to do. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(message);
  }
}

/** The server did not answer, or its answer broke off. */
export class Unreachable extends Error {}

const TOKEN_KEY = "acepilot-token";

export function saveToken(token: string): void {
  sessionStorage.setItem(TOKEN_KEY, token);
}

async function call(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const token = sessionStorage.getItem(TOKEN_KEY);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  try {
    return await fetch(path, { ...init, headers, cache: "no-store" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Unreachable("The server does not answer.");
  }
}

async function refusal(response: Response): Promise<Refused> {
  const seconds = Number(response.headers.get("Retry-After"));
  const body: unknown = await response.json().catch(() => null);
  const message = errorMessage(body) ?? `The server answered ${response.status} ${response.statusText}.`;
  return new Refused(response.status, message, seconds > 0 ? seconds : null);
}

function errorMessage(body: unknown): string | null {
  return (body as Partial<ErrorResponse> | null)?.error?.message ?? null;
}

async function getJson<T>(path: string): Promise<T> {
  const response = await call(path);
  if (!response.ok) throw await refusal(response);
  return (await response.json()) as T;
}

/** Gets the server's state. The states `loading` and `failed` come with HTTP status 503 and the same body. */
export async function getReady(): Promise<Ready> {
  const response = await call("/ready");
  if (response.status !== 200 && response.status !== 503) throw await refusal(response);
  try {
    return (await response.json()) as Ready;
  } catch {
    throw new Unreachable("The server's answer cannot be read.");
  }
}

export async function getModel(): Promise<ModelCard | undefined> {
  return (await getJson<ModelList>("/v1/models")).data[0];
}

export function getTrail(id: string): Promise<Trail> {
  return getJson<Trail>(`/v1/explain/${encodeURIComponent(id)}`);
}

/** Yields chunks as they arrive. Returns at `[DONE]`; throws Unreachable if the stream ends before it. */
export async function* streamCompletion(
  request: PlaygroundRequest,
  signal: AbortSignal,
): AsyncGenerator<CompletionResponse> {
  const response = await call("/v1/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...request, stream: true }),
    signal,
  });
  if (!response.ok || !response.body) throw await refusal(response);
  for await (const data of serverSentData(response.body, signal)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data) as CompletionResponse;
    const failure = errorMessage(chunk);
    if (failure !== null) throw new Refused(500, failure);
    yield chunk;
  }
  throw new Unreachable("The server broke off in the middle of its answer.");
}

async function* serverSentData(body: ReadableStream<Uint8Array>, signal: AbortSignal): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let pending = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (pending + decoder.decode(value, { stream: true })).split("\n");
      pending = lines.pop() ?? "";
      for (const line of lines) {
        if (line.startsWith("data:")) yield line.slice("data:".length).trim();
      }
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Unreachable("The connection to the server was lost.");
  } finally {
    reader.releaseLock();
  }
}
