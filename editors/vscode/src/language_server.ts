// The language server's process: started, stopped and restarted so that it agrees with the settings, one step at a time.

import { commands, type ExtensionContext, type LogOutputChannel, type TextDocument } from "vscode";
import {
  CloseAction,
  ErrorAction,
  LanguageClient,
  RevealOutputChannelOn,
  State,
  type CloseHandlerResult,
  type ErrorHandler,
  type ErrorHandlerResult,
  type Middleware,
} from "vscode-languageclient/node";
import { findProgram, MissingProgramError, type Program } from "./program";
import { readSettings, type Settings } from "./settings";
import type { ServerStatus, StatusBar } from "./status_bar";

const TOKEN = "token";
const MAX_CRASHES = 4;
const CRASH_WINDOW_MS = 180_000;

export interface Launch extends Program {
  /** Not the project's folder: what lies there must not decide what is imported. */
  readonly cwd: string;
  /** Beyond what VS Code has in its own. */
  readonly env: Record<string, string>;
}

export class LanguageServer {
  #client: LanguageClient | undefined;
  #runs = ""; // the settings that the client runs with
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
      if (JSON.stringify(settings) !== this.#runs) await this.#run(settings);
    });
  }

  restart(): Promise<void> {
    return this.#enqueue(() => this.#run(readSettings()));
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
      else this.#failed("The language server ended before it was ready; its own words are in the log.");
    }
  }

  async #start(program: Launch, settings: Settings): Promise<void> {
    const crashes = new Crashes((why) => {
      this.#failed(why);
    });
    const client = new QuietClient(
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
        errorHandler: crashes,
        initializationFailedHandler: () => false,
        middleware: onlyWhereOn(settings.disabledLanguages),
      },
    );
    this.#client = client;
    client.onNotification("acepilot/status", (status: ServerStatus) => {
      this.bar.serverStatus = status;
      void commands.executeCommand("setContext", "acepilot.ready", status.state === "ready");
    });
    client.onDidChangeState(({ newState }) => {
      if (newState === State.Starting) this.bar.phase = { name: "starting" };
      if (newState !== State.Running) return;
      crashes.isReady = true;
      const version = client.initializeResult?.serverInfo?.version ?? "of no version";
      this.bar.phase = { name: "running", version, own: extensionVersion(this.context) };
    });
    await client.start();
  }

  async #end(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    this.#runs = "";
    void commands.executeCommand("setContext", "acepilot.ready", false);
    if (client?.isRunning() === true) await client.stop();
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

/** Restarts a language server that dies, unless it dies at once or again and again. */
class Crashes implements ErrorHandler {
  isReady = false;
  #at: number[] = [];

  constructor(private readonly giveUp: (why: string) => void) {}

  error(_error: Error, _message: unknown, count: number | undefined): ErrorHandlerResult {
    return { action: (count ?? 0) <= 3 ? ErrorAction.Continue : ErrorAction.Shutdown };
  }

  closed(): CloseHandlerResult {
    if (!this.isReady) return { action: CloseAction.DoNotRestart, handled: true };
    const now = Date.now();
    this.#at = [...this.#at.filter((each) => now - each < CRASH_WINDOW_MS), now];
    if (this.#at.length <= MAX_CRASHES) return { action: CloseAction.Restart, handled: true };
    this.giveUp(`The language server ended ${this.#at.length} times within three minutes; its own words are in the log.`);
    return { action: CloseAction.DoNotRestart, handled: true };
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
