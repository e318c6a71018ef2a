/** The page's only door to the server: the contract of acepilot/protocol.py, over fetch. */

export interface Ready {
  status: "loading" | "ready" | "failed";
  model: string;
  engine: string | null;
  detail: string;
}

export interface ModelCard {
  id: string;
  engine: string;
  context_tokens: number;
  fim: string | null;
}

export interface CompletionRequest {
  prompt: string;
  suffix: string;
  language: string;
  path: string;
  max_tokens: number;
}

export interface CompletionChunk {
  id: string;
  choices: { index: number; text: string; finish_reason: string | null }[];
  acepilot?: { text: string | null; reason: string } | null;
}

export interface Trail {
  id: string;
  model: string;
  engine: string;
  language: string | null;
  mode: "line" | "block" | "raw";
  prompt: {
    prefix_tokens: number;
    suffix_tokens: number;
    snippet_tokens: number;
    snippets_used: number;
    clipped: boolean;
    dropped_chars: number;
    fim: string | null;
  } | null;
  cache: "none" | "response" | "typed_through";
  early_stop: string | null;
  filters: { name: string; removed_chars: number; dropped: boolean }[];
  finish_reason: "stop" | "length" | "cancelled" | null;
  generated_tokens: number;
  queue_ms: number;
  first_token_ms: number | null;
  total_ms: number | null;
  reason: string;
}

/** The server answered, with a refusal: `message` is the server's sentence on what to do. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(message);
  }
}

/** No answer, or an answer that broke off. */
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
  const error = (body as { error?: { message?: unknown } } | null)?.error;
  return typeof error?.message === "string" ? error.message : null;
}

async function getJson<T>(path: string): Promise<T> {
  const response = await call(path);
  if (!response.ok) throw await refusal(response);
  return (await response.json()) as T;
}

/** `loading` and `failed` come with status 503 and the same body. */
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
  return (await getJson<{ data: ModelCard[] }>("/v1/models")).data[0];
}

export function getTrail(id: string): Promise<Trail> {
  return getJson<Trail>(`/v1/explain/${encodeURIComponent(id)}`);
}

/** Chunks as they come. Returns at `[DONE]`; throws Unreachable when the stream ends before it. */
export async function* streamCompletion(
  request: CompletionRequest,
  signal: AbortSignal,
): AsyncGenerator<CompletionChunk> {
  const response = await call("/v1/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...request, stream: true }),
    signal,
  });
  if (!response.ok || !response.body) throw await refusal(response);
  for await (const data of serverSentData(response.body, signal)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data) as CompletionChunk;
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
