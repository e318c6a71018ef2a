// The language server's process: started, stopped and restarted so that it agrees with the settings, one step at a time.

import { commands, type ExtensionContext, type LogOutputChannel, type TextDocument } from "vscode";
import {
  CloseAction,
  ErrorAction,
  LanguageClient,
  RevealOutputChannelOn,
  type CloseHandlerResult,
  type Middleware,
} from "vscode-languageclient/node";
import { findProgram, MissingProgramError, type Program } from "./program";
import { readSettings, type Settings } from "./settings";
import type { ServerStatus, StatusBar } from "./status_bar";

const TOKEN = "token";
const MAX_CRASHES = 4;
const CRASH_WINDOW_MS = 180_000;
const MAX_BROKEN_MESSAGES = 3; // in a row
const START_LIMIT_MS = 60_000;

export interface Launch extends Program {
  /** Not the project's folder: what lies there must not decide what is imported. */
  readonly cwd: string;
  /** Beyond what VS Code has in its own. */
  readonly env: Record<string, string>;
}

export class LanguageServer {
  #client: LanguageClient | undefined;
  #runs = ""; // the settings that the client runs with
  #crashes: number[] = []; // when, since the user or the settings last said "run"
  #queue: Promise<void> = Promise.resolve();

  constructor(
    private readonly context: ExtensionContext,
    private readonly log: LogOutputChannel,
    private readonly bar: StatusBar,
  ) {}

  get client(): LanguageClient | undefined {
    return this.#client;
  }

  /** Make the process agree with the settings. */
  align(): Promise<void> {
    return this.#enqueue(async () => {
      const settings = readSettings();
      if (JSON.stringify(settings) === this.#runs) return;
      this.#crashes = [];
      await this.#run(settings);
    });
  }

  restart(): Promise<void> {
    return this.#enqueue(() => {
      this.#crashes = [];
      return this.#run(readSettings());
    });
  }

  stop(): Promise<void> {
    return this.#enqueue(() => this.#end());
  }

  async setToken(token: string): Promise<void> {
    await (token === "" ? this.context.secrets.delete(TOKEN) : this.context.secrets.store(TOKEN, token));
  }

  /** The program with its flags, and what it needs in its environment. Raises MissingProgramError. */
  async program(settings: Settings): Promise<Launch> {
    const { command, args } = await findProgram(settings.command);
    const flags: string[] = [];
    if (settings.serverUrl !== "") flags.push("--server-url", settings.serverUrl);
    if (settings.timeBudgetMs !== null) flags.push("--time-budget-ms", String(settings.timeBudgetMs));
    const token = await this.context.secrets.get(TOKEN);
    const env: Record<string, string> = token === undefined ? {} : { ACEPILOT_TOKEN: token };
    return { command, args: [...args, ...flags], cwd: this.context.extensionPath, env };
  }

  #enqueue(step: () => Promise<void>): Promise<void> {
    this.#queue = this.#queue.then(step).catch((error: unknown) => {
      this.log.error(String(error));
    });
    return this.#queue;
  }

  async #run(settings: Settings): Promise<void> {
    this.bar.phase = { name: "starting" };
    await this.#end();
    this.#runs = JSON.stringify(settings);
    if (settings.off !== undefined) {
      this.bar.phase = { name: "off", why: settings.off };
      return;
    }
    try {
      const program = await this.program(settings);
      this.log.info(`Starting ${[program.command, ...program.args].join(" ")}`);
      await this.#start(program, settings);
    } catch (error) {
      if (error instanceof MissingProgramError) this.bar.phase = { name: "missing", why: error.message };
      else this.#failed("The language server ended before it was ready, or was not ready in time; its own words are in the log.");
    }
  }

  async #start(program: Launch, settings: Settings): Promise<void> {
    const client: LanguageClient = new QuietClient(
      "acepilot",
      "Acepilot",
      {
        command: program.command,
        args: [...program.args],
        options: { env: { ...process.env, ...program.env }, cwd: program.cwd },
      },
      {
        documentSelector: [{ scheme: "file" }, { scheme: "untitled" }],
        outputChannel: this.log,
        revealOutputChannelOn: RevealOutputChannelOn.Never,
        errorHandler: {
          error: (_error, _message, count) => {
            if ((count ?? 0) > MAX_BROKEN_MESSAGES) client.serverProcess?.kill("SIGKILL");
            return { action: ErrorAction.Continue, handled: true };
          },
          closed: () => this.#closed(client),
        },
        initializationFailedHandler: () => false,
        middleware: onlyWhereOn(settings.disabledLanguages),
      },
    );
    this.#client = client;
    client.onNotification("acepilot/status", (status: ServerStatus) => {
      this.bar.serverStatus = status;
      void commands.executeCommand("setContext", "acepilot.ready", status.state === "ready");
    });
    const overdue = setTimeout(() => client.serverProcess?.kill("SIGKILL"), START_LIMIT_MS);
    await client.start().finally(() => {
      clearTimeout(overdue);
    });
    if (client !== this.#client) return; // it ended again already
    const version = client.initializeResult?.serverInfo?.version ?? "of no version";
    this.bar.phase = { name: "running", version, own: extensionVersion(this.context) };
  }

  async #end(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    this.#runs = "";
    void commands.executeCommand("setContext", "acepilot.ready", false);
    if (client?.isRunning() !== true) return;
    await client.stop().catch((error: unknown) => {
      this.log.error(String(error)); // it does not answer: the client ends the process two seconds later
    });
  }

  /**
   * A process that ended by itself: another one is started, unless it ended before it was ready, or again and again.
   * Not by the client, whose own restart could be neither waited for nor stopped, but as a step like all others.
   */
  #closed(client: LanguageClient): CloseHandlerResult {
    const ended = { action: CloseAction.DoNotRestart, handled: true, message: "The language server ended." };
    if (client !== this.#client || !client.isRunning()) return ended;
    this.#client = undefined;
    const now = Date.now();
    this.#crashes = [...this.#crashes.filter((each) => now - each < CRASH_WINDOW_MS), now];
    const count = this.#crashes.length;
    if (count <= MAX_CRASHES) void this.#enqueue(() => this.#run(readSettings()));
    else this.#failed(`The language server ended ${count} times within three minutes; its own words are in the log.`);
    return ended;
  }

  #failed(why: string): void {
    this.bar.phase = { name: "failed", why };
  }
}

/** Its troubles reach the user once, through the status bar, and in full through the log. */
class QuietClient extends LanguageClient {
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }
}

/** Files of other languages are not even opened in the language server: they would be context for the rest. */
function onlyWhereOn(disabledLanguages: readonly string[]): Middleware {
  const on = (document: TextDocument): boolean => !disabledLanguages.includes(document.languageId);
  return {
    didOpen: async (document, next) => {
      if (on(document)) await next(document);
    },
    didChange: async (event, next) => {
      if (on(event.document)) await next(event);
    },
    didSave: async (document, next) => {
      if (on(document)) await next(document);
    },
    didClose: async (document, next) => {
      if (on(document)) await next(document);
    },
    provideInlineCompletionItems: (document, position, context, token, next) =>
      on(document) ? next(document, position, context, token) : undefined,
  };
}

function extensionVersion(context: ExtensionContext): string {
  return (context.extension.packageJSON as { version: string }).version;
}
